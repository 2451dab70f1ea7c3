"""JSON: an array of objects, or one object a line. A key that some rows lack is a column with nulls."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.data.text_file import read_text
from harness.ledger.errors import DataError

_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


def read_json(path: Path, encoding: str) -> pa.Table:
    """Rows as a table. Raises DataError naming the line (of an array: the item) that is not as it should be."""
    text = read_text(path, encoding)
    rows = _array(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    names = dict.fromkeys(name for _, row in rows for name in row)
    return pa.table({name: _column(path, name, [(place, row.get(name)) for place, row in rows]) for name in names})


def _array(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    return [_row(path, f"item {i}", value) for i, value in enumerate(_parsed(path, None, text), 1)]


def _lines(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Lines end at \\n alone: U+2028, U+0085 and their like are characters of a text."""
    lines = enumerate(text.split("\n"), 1)
    return [_row(path, f"line {i}", _parsed(path, i, line)) for i, line in lines if line.strip()]


def _parsed(path: Path, line: int | None, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not a readable JSON file: line {line or error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file: {f'line {line}: ' if line else ''}{error}.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key '{next(name for name in names if names.count(name) > 1)}' stands there twice")
    return row


def _row(path: Path, place: str, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: {place} is {_WORDS.get(type(value), 'null')}, not an object with a value by column.")
    return place, value


def _column(path: Path, name: str, values: list[tuple[str, Any]]) -> pa.Array:
    """Whole numbers beyond 64 bits become their decimal text. Raises DataError where the kinds of values differ."""
    plain = [value for _, value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError, UnicodeError, ValueError, TypeError) as error:
        if all(value is None or type(value) is int for value in plain):
            return pa.array([None if value is None else str(value) for value in plain], pa.string())
        raise DataError(f"{path}: column '{name}' {_why(values) or str(error).splitlines()[0]}.") from error


def _why(values: Iterable[tuple[str, Any]]) -> str | None:
    first: dict[str, str] = {}
    for place, value in values:
        if value is not None:
            first.setdefault(_WORDS[type(value)], place)
    if len(first) > 1:
        return f"holds {' and '.join(f'{kind} ({place})' for kind, place in first.items())}; a column holds one kind"
    return None
