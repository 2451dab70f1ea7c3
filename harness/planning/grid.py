"""The cells of a sweep as override words: its grids and zips, what it leaves out, and what it sets apart for some.

Nothing is composed here, so a large sweep costs nothing. Refuses a key that no part of a run has, and a row or rule
that is not one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

from harness.config.keys import where_it_belongs
from harness.config.overrides import Assignment, assign_from_yaml
from harness.config.resolve import PARTS
from harness.ledger.errors import SpecError, nearest
from harness.ledger.parse import parse
from harness.ledger.sweep_spec import SweepSpec

Cell = dict[str, Assignment]  # by its key, axis or dotted; all axes but the seed
_ABSENT: Mapping[str, Any] = {"grids": [], "exclude": [], "set": []}  # what a yaml may leave out; all else is null then


def read_sweep(raw: Mapping[str, Any]) -> SweepSpec:
    """The `sweep` group of a config. Raises SpecError that names the key which is wrong."""
    if "name" not in raw:
        raise SpecError("sweep: name must be given; it names the plan and the report.")
    known = {field.name: _ABSENT.get(field.name) for field in fields(SweepSpec)}
    sweep = parse(SweepSpec, known | dict(raw), "sweep")
    for place, keys in _keys(sweep):
        for key in keys:
            _check_key(key, place)
    return sweep


def cells(sweep: SweepSpec, typed: Mapping[str, tuple[Assignment, ...]]) -> Iterator[Cell]:
    """Every cell of the grids; axes typed on the command line replace or narrow the sweep's own."""
    typed = {key: words for key, words in typed.items() if key != "seed"}
    for grid in sweep.grids or ({},):
        axes = {key: words for name, values in grid.items() if name != "zip" for key, words in [_axis(name, values)]}
        rows = [_cell(row) for row in grid.get("zip", ({},))]
        zip_keys = {key for row in rows for key in row}
        rows = [row for row in rows if all(row[key] in typed.get(key, (row[key],)) for key in row)]
        axes |= {key: words for key, words in typed.items() if key not in zip_keys}
        for row in rows:
            for words in product(*axes.values()):
                yield row | dict(zip(axes, words, strict=True))


def why_excluded(cell: Cell, sweep: SweepSpec) -> str | None:
    """The sentence of the first exclusion that holds for a cell."""
    return next((rule.because for rule in sweep.exclude if holds(cell, rule.where)), None)


def settings_for(cell: Cell, sweep: SweepSpec) -> list[Assignment]:
    """What the sweep's settings add to a cell; what the cell says of its own stands."""
    settings: Cell = {}
    for rule in sweep.set:
        if holds(cell, rule.where):
            settings |= _cell(rule.set)
    return [word for key, word in settings.items() if key not in cell]


def values(cell: Cell) -> dict[str, str]:
    """Key -> value, as a person reads it."""
    return {key: word.shown for key, word in cell.items()}


def holds(cell: Cell, where: Mapping[str, Any]) -> bool:
    """Whether a rule is for a cell: every key of `where` has one of its values there."""
    return all(cell.get(key) in words for name, names in where.items() for key, words in [_axis(name, names)])


def _cell(row: Mapping[str, Any]) -> Cell:
    return {word.key: word for key, value in row.items() for word in [assign_from_yaml(key, value)]}


def axis_words(name: str, values: Any) -> tuple[Assignment, ...]:
    """One assignment per value; a single value is a list of one."""
    return tuple(assign_from_yaml(name, value) for value in (values if isinstance(values, list | tuple) else (values,)))


def _axis(name: str, values: Any) -> tuple[str, tuple[Assignment, ...]]:
    """A key as the config has it, and its assignments."""
    return assign_from_yaml(name, None).key, axis_words(name, values)


def _keys(sweep: SweepSpec) -> Iterator[tuple[str, Iterable[str]]]:
    """Where keys stand, and which. Raises SpecError for a row of a zip that is no mapping."""
    for number, grid in enumerate(sweep.grids):
        place = f"sweep.grids[{number}]"
        yield place, [key for key in grid if key != "zip"]
        if not isinstance(rows := grid.get("zip", ()), list | tuple):
            raise SpecError(f"{place}.zip: {rows!r} is not a list of rows, as in [{{model: minilm, dataset: trec50}}].")
        for row in rows:
            if not isinstance(row, Mapping):
                raise SpecError(f"{place}.zip: {row!r} is not a mapping, as in {{model: minilm, dataset: trec50}}.")
            yield f"{place}.zip", row
    yield from (("sweep.exclude", rule.where) for rule in sweep.exclude)
    yield from (("sweep.set", [*rule.where, *rule.set]) for rule in sweep.set)


def check_source_key(key: str) -> None:
    """Raises SpecError unless `key` is of a part of a source run, as source.method.update.rank is."""
    inner = key
    while inner.startswith("source."):
        inner = inner.removeprefix("source.")
    if inner.split(".")[0] not in PARTS:
        raise SpecError(
            f"{key}: unknown key. A source run has a method, model, dataset and recipe; its seed is its targets'."
        )


def _check_key(key: str, place: str) -> None:
    if key == "seed":
        raise SpecError(f"{place}.seed: the seeds of a sweep stand under `seeds`, for all of its cells.")
    word = assign_from_yaml(key, None)
    if word.axis == "source":
        check_source_key(word.key)
    elif word.axis not in PARTS:
        near = nearest(key.split(".")[0], PARTS)
        raise SpecError(f"{place}.{key}: unknown key.{where_it_belongs(replace(word, text='…'))}{near}")
