"""What is probed: methods, a model at a size, a shape, and how often. Plain data; nothing is measured here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from hydra.core.override_parser.types import Override

from harness.config.groups import choices
from harness.config.overrides import Assignment, assign, expand, parse_words
from harness.config.resolve import Resolver, words_of
from harness.ledger.errors import SpecError, nearest
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from methods.spec import MethodSpec

FLOOR, PEFT_LORA, PEFT_DORA = "floor", "peft_lora", "peft_dora"


@dataclass(frozen=True)
class Options:
    """The probe's own keys, with the values that `peftlab probe` starts from."""

    batch: int = 16
    length: int = 128  # tokens; an image model's own number of patches stands
    layers: int | None = None  # of the model's; null: all
    targets: tuple[str, ...] = ()  # canonical names, or all; empty: each method's own
    steps: int = 100  # timed ones of each entrant
    warmup: int = 20
    rounds: int = 10  # the steps are taken in this many rounds over all entrants, each in an order of its own
    peft: bool = True  # LoRA and DoRA of the peft library beside the methods
    counts: bool = False  # ledger, parameters and FLOPs alone, from shapes: no weights, no time
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 autocast on a GPU


@dataclass(frozen=True)
class Request:
    """A probe, resolved."""

    methods: tuple[MethodSpec, ...]
    model: ModelSpec
    options: Options


def read_request(words: Sequence[str]) -> Request:
    """Override words to a request; raises SpecError for an unknown key or choice.

    `method=lora,cla` and `method.update.rank=8`, `model=…` and `model.…` are Hydra's; the rest are `Options`.
    """
    overrides = parse_words(words)
    options = _options({o.key_or_group: _single(o) for o in overrides if not _is_composed(o.key_or_group)})
    composed = [word for o in overrides if _is_composed(o.key_or_group) for word in _expanded(o)]
    names = [word for word in composed if word.key == "method"] or [assign("method", name) for name in ("lora", "cla")]
    resolver = Resolver()
    model = resolver.part("model", words_of("model", composed)).spec
    changes = [word for word in words_of("method", composed) if word.key != "method"]
    methods = [resolver.part("method", [name, *changes]).spec for name in names]
    return Request(tuple(_retargeted(method, model, options.targets) for method in methods), model, options)


def _is_composed(key: str) -> bool:
    return key.split(".")[0] in ("method", "model")


def _expanded(override: Override) -> list[Assignment]:
    words = expand(override)
    if len(words) > 1 and override.key_or_group != "method":
        raise SpecError(
            f"{override.input_line}: only `method` may be a list here; probe one {override.key_or_group} at a time."
        )
    return words


def _single(override: Override) -> Any:
    if override.is_sweep_override():
        raise SpecError(f"{override.input_line}: one value is needed; a list is written {override.key_or_group}=[a,b].")
    return override.value()


def _options(raw: Mapping[str, Any]) -> Options:
    names = [field.name for field in fields(Options)]
    for key in raw:
        if key not in names:
            raise SpecError(f"{key}: unknown key of the probe.{nearest(key, [*names, 'method', 'model'])}")
    given = dict(raw)
    if isinstance(given.get("targets"), str):
        given["targets"] = [given["targets"]]
    if "targets" in given:
        given["targets"] = [str(target) for target in given["targets"]]
    options = parse(Options, vars(Options()) | given, "probe")
    layers = 1 if options.layers is None else options.layers
    least = min(options.batch, options.length, layers, options.steps, options.rounds)
    if least < 1 or options.rounds > options.steps:
        raise SpecError("batch, length, layers, steps and rounds must be at least 1, and rounds at most steps.")
    if min(options.warmup, options.seed) < 0:
        raise SpecError("warmup and seed must not be negative.")
    return options


def _retargeted(method: MethodSpec, model: ModelSpec, targets: tuple[str, ...]) -> MethodSpec:
    if not targets or not method.targets:
        return method
    for target in targets:
        if target not in model.targets and targets != ("all",):
            raise SpecError(f"targets: {model.name} has no '{target}'.{nearest(target, [*model.targets, 'all'])}")
    return replace(method, targets=tuple(model.targets) if targets == ("all",) else targets)


def known_methods() -> tuple[str, ...]:
    """Every method that has a config."""
    return choices("method")
