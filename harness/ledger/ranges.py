"""The range of a number, from the metadata of its field: `field(metadata={"min": 0, "below": 1})`.

min, max: the bounds belong to the range; above, below: they do not. items: how many a list holds, least and most;
ascending: each larger than the one before; distinct: none twice. A list's bounds are those of each of its numbers.
No part of an id.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from harness.ledger.errors import SpecError

_WORDS = {"min": "at least", "above": "above", "max": "at most", "below": "below"}
_KEYS = {*_WORDS, "items", "ascending", "distinct"}
_HOLDS = {
    "min": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "max": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


def check_range(metadata: Mapping[str, Any], value: Any, where: str) -> None:
    """Raises SpecError, naming the valid range, when a number, or one of a list, lies outside it."""
    if _KEYS.isdisjoint(metadata):
        return
    if isinstance(value, tuple):
        _check_list(metadata, value, where)
        for number, item in enumerate(value):
            check_range(metadata, item, f"{where}[{number}]")
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_range(metadata, item, f"{where}.{key}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    bounds = {word: metadata[word] for word in _WORDS if word in metadata}
    if not all(_HOLDS[word](value, bound) for word, bound in bounds.items()):
        raise SpecError(f"{where}: {value} is not {range_of(metadata)}.")


def range_of(metadata: Mapping[str, Any]) -> str:
    """`a number above 0 and at most 1`."""
    return "a number " + " and ".join(f"{_WORDS[word]} {metadata[word]}" for word in _WORDS if word in metadata)


def _check_list(metadata: Mapping[str, Any], value: tuple[Any, ...], where: str) -> None:
    least, most = metadata.get("items", (0, len(value)))
    if not least <= len(value) <= (len(value) if most is None else most):
        count = f"exactly {least}" if least == most else f"at least {least}"
        raise SpecError(f"{where}: {list(value)} holds {len(value)} of {count} that are needed.")
    if metadata.get("distinct") and len(set(value)) < len(value):
        twice = next(item for item in value if value.count(item) > 1)
        raise SpecError(f"{where}: {list(value)} holds {twice!r} twice.")
    if metadata.get("ascending") and any(item >= next_ for item, next_ in pairwise(value)):
        raise SpecError(f"{where}: {list(value)} is not ascending.")
