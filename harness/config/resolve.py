"""One cell's override words to one frozen RunSpec. Each part is composed and parsed once for all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.config.compose import compose_part
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical, to_plain
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from harness.ledger.spec import RecipeSpec
from methods.library_types import SHORT
from methods.spec import MethodSpec

TYPE = "method.update.type"
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

    def part(self, axis: str, words: Sequence[str], *, rates: Sequence[str] = ()) -> Part:
        """The part that these words choose; `rates`: the keys of a recipe's rates that hold here, the first wins."""
        key = (axis, *rates, "", *words)
        if key not in self._parts:
            raw = self._plain(axis, tuple(words))
            spec = parse(PARTS[axis], _with_rates(raw, rates) if axis == "recipe" else raw, axis)
            self._parts[key] = Part(spec, to_plain(spec), canonical(spec))
        return self._parts[key]

    def _plain(self, axis: str, words: tuple[str, ...]) -> dict[str, Any]:
        if (axis, *words) not in self._composed:
            self._composed[axis, *words] = _library_method(words) if axis == "method" else compose_part(axis, words)
        return self._composed[axis, *words]


def words_of(axis: str, words: Sequence[str]) -> list[str]:
    """Those of a cell's words that touch one part: `method=…` and `method.update.rank=…` for "method"."""
    return [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] == axis]


def source_words(words: Sequence[str]) -> list[str]:
    """The words of the run that a cell starts from; none when it starts from the pretrained model.

    `source.method=lora` is its method; model, dataset, recipe and seed are the cell's own but for what `source.…` says.
    """
    own = {_key(word): word for word in words if _key(word).split(".")[0] in ("model", "dataset", "recipe", "seed")}
    inner = {_key(word): word.replace("source.", "", 1) for word in words if _key(word).startswith("source.")}
    inner = {key.removeprefix("source."): word for key, word in inner.items()}
    return [*(own | inner).values()] if inner else []


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _library_method(words: Sequence[str]) -> dict[str, Any]:
    """A method's config; `method=peft peft.type=IA3` starts from no other type's options, under a name of its own."""
    kinds = [word.partition("=")[2].upper() for word in words if word.startswith(f"{TYPE}=")]
    method = compose_part("method", [word for word in words if not word.startswith(f"{TYPE}=")])
    if not kinds:
        return method
    if method["update"]["kind"] != "peft":
        raise SpecError(f"peft.type: {method['name']} is no method of the peft library; write method=peft.")
    given, kind = {word.lstrip("+").partition("=")[0] for word in words}, kinds[-1]
    own = method["update"]["type"]
    options = method["update"]["options"]
    if SHORT.get(kind, (kind,))[0] != own:
        options = {key: value for key, value in options.items() if f"method.update.options.{key}" in given}
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
            found = [rates[name] for name in keys if name in rates]
            if not found:
                wanted = " nor ".join(f"'{name}'" for name in keys)
                raise SpecError(f"recipe.{key}: no rate for {wanted}; it has {', '.join(sorted(rates))}.")
            resolved[key] = found[0]
    if resolved.get("head_lr") is None:
        resolved["head_lr"] = resolved.get("lr")
    return resolved
