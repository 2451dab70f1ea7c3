"""What a sweep says of itself, held against its own cells: the control, rules that never hold, names and duplicates."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.config.compose import choices
from harness.ledger.diagnoses import in_order
from harness.ledger.errors import SpecError, nearest
from harness.ledger.names import check_plain
from harness.ledger.sweep_spec import SweepSpec
from harness.planning.grid import axis_words, cells, holds


def check_sweep(sweep: SweepSpec, typed: Iterable[str]) -> None:
    """Raises SpecError for the first of its keys that cannot be meant. typed: keys that the command line replaces."""
    if sweep.name is not None:
        check_plain(sweep.name, "sweep.name")
    if sweep.tune is not None:
        check_plain(sweep.tune.into, "sweep.tune.into")
        if sweep.tune.base not in (known := choices("recipe")):
            raise SpecError(f"sweep.tune.base: unknown choice '{sweep.tune.base}'.{nearest(sweep.tune.base, known)}")
    if sweep.diagnose is not None:
        in_order(sweep.diagnose.kinds, "sweep.diagnose.kinds")
    for number, grid in enumerate(sweep.grids):
        _check_axes(grid, f"sweep.grids[{number}]")
    if set(typed) - {"seed"}:  # then the cells are not the sweep's own
        return
    if sweep.name is not None and not sweep.grids:
        raise SpecError(f"sweep {sweep.name}: grids must be given, as in grids: [{{method: [lora, cla]}}].")
    own = list(cells(sweep, {}))
    for place, where in _rules(sweep):
        if not any(holds(cell, where) for cell in own):
            words = ", ".join(f"{key}: {value}" for key, value in where.items())
            raise SpecError(f"{place}: {{{words}}} holds for no cell of {sweep.name}; correct it or take it out.")


def check_control(sweep: SweepSpec, methods: Iterable[str]) -> None:
    """Raises SpecError when differences would be shown against a method that no cell has."""
    if sweep.control is not None and sweep.control not in (known := set(methods)):
        near = nearest(sweep.control, known)
        raise SpecError(f"sweep.control: '{sweep.control}' is no method of the sweep {sweep.name}.{near}")


def _rules(sweep: SweepSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((f"sweep.exclude[{number}].where", rule.where) for number, rule in enumerate(sweep.exclude))
    yield from ((f"sweep.set[{number}].where", rule.where) for number, rule in enumerate(sweep.set))


def _check_axes(grid: Mapping[str, Any], place: str) -> None:
    for name, values in grid.items():
        if name == "zip":
            continue
        words = axis_words(name, values)
        if not words or values is None:
            raise SpecError(f"{place}.{name}: {values!r} holds no value.")
        if len(set(words)) < len(words):
            twice = next(word.shown for word in words if words.count(word) > 1)
            raise SpecError(f"{place}.{name}: {twice} is there twice; name each value once.")
