"""A plan's runs from specs alone, where no plan was written: settings that share a name are told apart by
what differs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.ledger.plan import Planned

_AXES = ("method", "model", "dataset", "recipe")


def planned_from_specs(specs: Mapping[str, Mapping[str, Any]]) -> tuple[Planned, ...]:
    """One Planned per id. Two ranks of one method become two choices, never two seeds of one cell."""
    differing = _differing(specs.values())
    return tuple(Planned(run_id, _choices(spec, differing), spec) for run_id, spec in specs.items())


def _differing(specs: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """(axis, name) -> dotted keys that have several values under that one name."""
    seen: dict[tuple[str, str], dict[str, set[str]]] = {}
    for spec in specs:
        for axis in _AXES:
            values = seen.setdefault((axis, spec[axis]["name"]), {})
            for key, value in _flat(spec[axis]):
                values.setdefault(key, set()).add(value)
    return {name: {key for key, kinds in values.items() if len(kinds) > 1} for name, values in seen.items()}


def _choices(spec: Mapping[str, Any], differing: Mapping[tuple[str, str], set[str]]) -> dict[str, Any]:
    return {
        f"{axis}.{k}": v for axis in _AXES for k, v in _flat(spec[axis]) if k in differing[axis, spec[axis]["name"]]
    }


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in part.items():
        if isinstance(value, Mapping) and key != "about":
            yield from _flat(value, f"{prefix}{key}.")
        elif key != "about":
            yield f"{prefix}{key}", json.dumps(value)
