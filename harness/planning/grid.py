"""The cells of a sweep as override words: its grids and zips, what it leaves out, and what it sets apart for some.

Nothing is composed here, so a large sweep costs nothing. Refuses a key that no part of a run has, and a row or rule
that is not one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from harness.config.compose import canonical_key
from harness.config.resolve import PARTS
from harness.ledger.errors import SpecError, nearest
from harness.ledger.parse import parse
from harness.ledger.sweep_spec import SweepSpec

Cell = dict[str, str]  # axis or dotted key -> override word; all axes but the seed
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


def cells(sweep: SweepSpec, typed: Mapping[str, tuple[str, ...]]) -> Iterator[Cell]:
    """Every cell of the grids; axes typed on the command line (key -> words) replace or narrow the sweep's own."""
    typed = {key: words for key, words in typed.items() if key != "seed"}
    for grid in sweep.grids or ({},):
        axes = {_bare(key): _words(key, values) for key, values in grid.items() if key != "zip"}
        rows = [_cell(row) for row in grid.get("zip", ({},))]
        zip_keys = {key for row in rows for key in row}
        rows = [row for row in rows if all(row[key] in typed.get(key, (row[key],)) for key in row)]
        axes |= {key: words for key, words in typed.items() if key not in zip_keys}
        for row in rows:
            for words in product(*axes.values()):
                yield row | dict(zip(axes, words, strict=True))


def why_excluded(cell: Cell, sweep: SweepSpec) -> str | None:
    """The sentence of the first exclusion that holds for a cell."""
    return next((rule.because for rule in sweep.exclude if _holds(cell, rule.where)), None)


def settings_for(cell: Cell, sweep: SweepSpec) -> list[str]:
    """The override words that the sweep's settings add to a cell; what the cell says of its own stands."""
    found: Cell = {}
    for rule in sweep.set:
        if _holds(cell, rule.where):
            found |= _cell(rule.set)
    return [word for key, word in found.items() if key not in cell]


def values(cell: Cell) -> dict[str, str]:
    """Key -> value, as typed."""
    return {key: word.partition("=")[2] for key, word in cell.items()}


def bare(key: str) -> str:
    """A key without Hydra's + or ~."""
    return key.lstrip("+~")


def _holds(cell: Cell, where: Mapping[str, Any]) -> bool:
    return all(cell.get(_bare(key)) in _words(key, names) for key, names in where.items())


def _cell(row: Mapping[str, Any]) -> Cell:
    return {_bare(key): _word(key, value) for key, value in row.items()}


def _words(key: str, values: Any) -> tuple[str, ...]:
    """One word per value; a single value is a list of one."""
    return tuple(_word(key, value) for value in (values if isinstance(values, list | tuple) else (values,)))


def _word(key: str, value: Any) -> str:
    return f"{canonical_key(key)}={_typed(value)}"


def _bare(key: str) -> str:
    return bare(canonical_key(key))


def _typed(value: Any) -> str:
    """A value of a yaml as it would be typed on the command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _keys(sweep: SweepSpec) -> Iterator[tuple[str, Iterable[str]]]:
    """Where keys stand, and which. Raises SpecError for a row of a zip that is no mapping."""
    for number, grid in enumerate(sweep.grids):
        place = f"sweep.grids[{number}]"
        yield place, [key for key in grid if key != "zip"]
        for row in grid.get("zip", ()):
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
    if _bare(key).startswith("source."):
        check_source_key(_bare(key))
    elif _bare(key).split(".")[0] not in PARTS:
        raise SpecError(f"{place}.{key}: unknown key.{nearest(key.split('.')[0], PARTS)}")
