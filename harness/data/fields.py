"""One value of a row by its path, and values of files that are text read as numbers."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from harness.ledger.errors import DataError

_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\[\]]+)\]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value at `column`, `column.key`, `column[key]` or `column[0]`; a column whose own name has dots comes first.

    Anything within a null is null. Raises DataError when the row has no such place.
    """
    name = column_of(path, row)
    value, rest = row[name], path[len(name) :]
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise DataError(f"'{path}' is no path; write column, column.key, column[key] or column[0].")
        value, rest = _inside(value, step[1] or step[2], path), rest[step.end() :]
    return value


def column_of(path: str, columns: Mapping[str, Any] | list[str]) -> str:
    """The column that a path begins with: of several, the longest name. Raises DataError when there is none."""
    names = [name for name in columns if path == name or path.startswith((f"{name}.", f"{name}["))]
    if not names:
        raise DataError(f"there is no column '{path}'; the data has {', '.join(columns)}.")
    return max(names, key=len)


def column_values(table: pa.Table, path: str) -> list[Any]:
    """The values at `path` in every row. Raises DataError when there is no such column."""
    name = column_of(path, table.column_names)
    values = table.column(name).to_pylist()
    return values if path == name else [value_at({name: value}, path) for value in values]


def as_number(value: Any) -> float | None:
    """An int, a float or the text of one (`-1.5e3`; CSV files hold text) as a finite float; None for all else."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def _inside(value: Any, key: str, path: str) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        raise DataError(f"'{path}': there is no '{key}' in it; it has {', '.join(map(str, value))}.")
    if isinstance(value, list) and key.isdigit():
        if int(key) < len(value):
            return value[int(key)]
        raise DataError(f"'{path}': the list has {len(value)} items, so none at [{key}].")
    raise DataError(f"'{path}': there is nothing at '{key}', as a {type(value).__name__} has no such part.")
