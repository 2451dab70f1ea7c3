"""What is probed: methods, a model at a size, a shape, and how often. Plain data; nothing is measured here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from hydra.core.override_parser.types import Override

from harness.config.groups import choices
from harness.config.overrides import Assignment, assign, expand, parse_words
from harness.config.resolve import Resolver, words_of
from harness.ledger.errors import SpecError, nearest
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from harness.models.families import family_of
from methods.spec import MethodSpec

FLOOR, PEFT_LORA, PEFT_DORA = "floor", "peft_lora", "peft_dora"


@dataclass(frozen=True)
class Options:
    """The probe's own keys, with the values that `peftlab probe` starts from."""

    batch: int = field(default=16, metadata={"min": 1, "max": 2**16})
    length: int = field(default=128, metadata={"min": 1, "max": 2**20})  # tokens; images have their own number
    layers: int | None = field(default=None, metadata={"min": 1})  # of the model's; null: all
    targets: tuple[str, ...] = ()  # canonical names, or all; empty: each method's own
    steps: int = field(default=100, metadata={"min": 1, "max": 10**6})  # timed ones of each entrant
    warmup: int = field(default=20, metadata={"min": 0, "max": 10**6})
    rounds: int = field(default=10, metadata={"min": 1})  # over all entrants, each in an order of its own
    peft: bool = True  # LoRA and DoRA of the peft library beside the methods
    counts: bool = False  # ledger, parameters and FLOPs alone, from shapes: no weights, no time
    seed: int = field(default=0, metadata={"min": 0, "max": 2**63 - 1})
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 autocast on a GPU


@dataclass(frozen=True)
class ProbeRequest:
    """A probe, resolved."""

    methods: tuple[MethodSpec, ...]
    model: ModelSpec
    options: Options


def read_request(words: Sequence[str]) -> ProbeRequest:
    """`request_of` the words of a command line. Raises SpecError for a word that is not one."""
    return request_of(parse_words(words))


def request_of(overrides: Sequence[Override]) -> ProbeRequest:
    """Overrides to a request; raises SpecError for an unknown key or choice.

    `method=lora,cla` and `method.update.rank=8`, `model=…` and `model.…` are Hydra's; the rest are `Options`.
    """
    options = _options({o.key_or_group: _single(o) for o in overrides if not _is_composed(o.key_or_group)})
    composed = [word for o in overrides if _is_composed(o.key_or_group) for word in _expanded(o)]
    names = [word for word in composed if word.key == "method"] or [assign("method", name) for name in ("lora", "cla")]
    resolver = Resolver()
    model = resolver.part("model", words_of("model", composed)).spec
    if model.kind == "vision_language":
        raise SpecError(f"probe: {model.name} reads images, and a probe has none; probe a language model of its size.")
    _check_layers(options.layers, model)
    changes = [word for word in words_of("method", composed) if word.key != "method"]
    methods = [resolver.part("method", [name, *changes]).spec for name in names]
    return ProbeRequest(tuple(_retargeted(method, model, options.targets) for method in methods), model, options)


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
        if not isinstance(given["targets"], list | tuple):
            raise SpecError(f"targets: {given['targets']!r} is no list of targets, as in targets=[q,v], and not all.")
        given["targets"] = [str(target) for target in given["targets"]]
    options = parse(Options, vars(Options()) | given, "probe")
    if options.rounds > options.steps:
        raise SpecError(f"probe: rounds at most steps; {options.rounds} rounds cannot share {options.steps} steps.")
    return options


def _check_layers(layers: int | None, model: ModelSpec) -> None:
    sizes = {**model.config, **(family_of(model).tiny if model.size == "tiny" else {})}
    most = sizes.get("num_hidden_layers", sizes.get("n_layer"))
    if layers is not None and most is not None and layers > most:
        raise SpecError(f"layers: {layers} is more than {model.name} has; a number from 1 to {most}.")


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
