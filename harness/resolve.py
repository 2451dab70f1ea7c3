"""One cell's override words to one frozen RunSpec. Each part is composed and parsed once for all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.compose import compose_plain
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical, to_plain
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from harness.ledger.spec import RecipeSpec
from methods.spec import MethodSpec

PARTS = {"method": MethodSpec, "model": ModelSpec, "dataset": DatasetSpec, "recipe": RecipeSpec}


@dataclass(frozen=True)
class Part:
    """A parsed part with the two forms a plan needs of it."""

    spec: Any
    plain: Mapping[str, Any]
    text: str  # canonical, for the id


@dataclass
class Resolver:
    """Remembers every part it has composed, by the words that chose it."""

    _composed: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    _parts: dict[tuple[str, ...], Part] = field(default_factory=dict)

    def part(self, axis: str, words: Sequence[str], *, group: str = "") -> Part:
        """The part that these words choose; `group` is the method's rate group, for a recipe."""
        key = (axis, group, *words)
        if key not in self._parts:
            raw = self._plain(tuple(words))[axis]
            spec = parse(PARTS[axis], _with_rates(raw, group) if axis == "recipe" else raw, axis)
            self._parts[key] = Part(spec, to_plain(spec), canonical(spec))
        return self._parts[key]

    def _plain(self, words: tuple[str, ...]) -> dict[str, Any]:
        if words not in self._composed:
            self._composed[words] = compose_plain(words)
        return self._composed[words]


def words_of(axis: str, words: Sequence[str]) -> list[str]:
    """Those of a cell's words that touch one part: `method=…` and `method.update.rank=…` for "method"."""
    return [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] == axis]


def _with_rates(recipe: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The recipe of one method: `lr` and `head_lr` as the numbers that its rate group takes."""
    resolved = dict(recipe)
    for key in ("lr", "head_lr"):
        rates = recipe.get(key)
        if isinstance(rates, Mapping):
            if group not in rates:
                raise SpecError(f"recipe.{key}: no rate for the group '{group}'; it has {', '.join(sorted(rates))}.")
            resolved[key] = rates[group]
    if resolved.get("head_lr") is None:
        resolved["head_lr"] = resolved.get("lr")
    return resolved
