"""One cell's override words to one frozen RunSpec. Each part is composed and parsed once for all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harness.config.compose import Kept, compose_part
from harness.config.overrides import OPTIONS, Assignment
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical, to_plain
from harness.ledger.metrics import check_card
from harness.ledger.model_spec import ModelSpec
from harness.ledger.names import check_plain
from harness.ledger.parse import parse
from harness.ledger.spec import RecipeSpec
from methods.kinds import file_digest
from methods.library_types import SHORT
from methods.spec import MethodSpec

TYPE = "method.update.type"
PARTS = {"method": MethodSpec, "model": ModelSpec, "dataset": DatasetSpec, "recipe": RecipeSpec}


@dataclass(frozen=True)
class ResolvedPart:
    """A parsed part with the two forms a plan needs of it."""

    spec: Any
    plain: Mapping[str, Any]
    text: str  # canonical, for the id


@dataclass
class Resolver:
    """Remembers every part it has composed, by the words that chose it."""

    _kept: Kept = field(default_factory=dict)
    _composed: dict[tuple[str | Assignment, ...], dict[str, Any]] = field(default_factory=dict)
    _parts: dict[tuple[str | Assignment, ...], ResolvedPart] = field(default_factory=dict)

    def part(self, axis: str, words: Sequence[Assignment], *, rates: Sequence[str] = ()) -> ResolvedPart:
        """The part that these words choose; `rates`: the keys of a recipe's rates that hold here, the first wins."""
        key = (axis, *rates, "", *words)
        if key not in self._parts:
            raw = self._plain(axis, tuple(words))
            spec = parse(PARTS[axis], _with_rates(raw, rates) if axis == "recipe" else raw, axis)
            check_plain(spec.name, f"{axis}.name")
            if isinstance(spec, DatasetSpec):
                check_card(spec)
            if isinstance(spec, MethodSpec):
                spec = replace(spec, code=file_digest(spec.update, spec.schedule))  # another text is another method
            self._parts[key] = ResolvedPart(spec, to_plain(spec), canonical(spec))
        return self._parts[key]

    def _plain(self, axis: str, words: tuple[Assignment, ...]) -> dict[str, Any]:
        if (axis, *words) not in self._composed:
            compose = library_method if axis == "method" else partial(compose_part, axis)
            self._composed[axis, *words] = compose(words, kept=self._kept)
        return self._composed[axis, *words]


def words_of(axis: str, words: Sequence[Assignment]) -> list[Assignment]:
    """Those of a cell's words that touch one part: `method=…` and `method.update.rank=…` for "method"."""
    return [word for word in words if word.axis == axis]


def source_words(words: Sequence[Assignment], same_update: bool) -> list[Assignment]:
    """The words of the run that a cell starts from; none when it starts from the pretrained model.

    `source.method=lora` is its method; model, dataset, recipe and seed are the cell's own but for what `source.…` says,
    and with `same_update` the method's update and targets are too.
    """
    own = {word.key: word for word in words if word.axis in ("model", "dataset", "recipe", "seed")}
    if same_update:
        own |= {word.key: word for word in words if word.key.startswith(("method.update.", "method.targets"))}
    inner = [replace(word, key=word.key.removeprefix("source.")) for word in words if word.axis == "source"]
    return [*(own | {word.key: word for word in inner}).values()] if inner else []


def library_method(words: Sequence[Assignment], kept: Kept | None = None) -> dict[str, Any]:
    """A method's config; `method=peft peft.type=IA3` starts from no other type's options, under a name of its own."""
    kinds = [word.shown.upper() for word in words if word.key == TYPE]
    method = compose_part("method", [word for word in words if word.key != TYPE], kept)
    if not kinds:
        return method
    if method["update"]["kind"] != "peft":
        raise SpecError(f"peft.type: {method['name']} is no method of the peft library; write method=peft.")
    given, kind = {word.key for word in words}, kinds[-1]
    own = method["update"]["type"]
    options = method["update"]["options"]
    if SHORT.get(kind, (kind,))[0] != own:
        options = {key: value for key, value in options.items() if OPTIONS + key in given}
    if kind == own:
        return method
    name = method["name"] if "method.name" in given else f"peft_{kind.lower()}"
    about = {"label": f"{kind} (peft)", "source": "peft library", "formula": f"{kind}, as the peft library computes it"}
    return method | {"name": name, "update": {"kind": "peft", "type": kind, "options": options}, "about": about}


def _with_rates(recipe: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The recipe of one method: `lr` and `head_lr` as the numbers under its own name, else under its rate group."""
    resolved = dict(recipe)
    for key in ("lr", "head_lr"):
        rates = recipe.get(key)
        if isinstance(rates, Mapping):
            fitting = [rates[name] for name in keys if name in rates]
            if not fitting:
                asked = " nor ".join(f"'{name}'" for name in keys)
                raise SpecError(f"recipe.{key}: no rate for {asked}; it has {', '.join(sorted(map(str, rates)))}.")
            resolved[key] = fitting[0]
    if resolved.get("head_lr") is None:
        resolved["head_lr"] = resolved.get("lr")
    return resolved
