"""A label column's values to the card's class names, decided once for the whole column.

The rule: `aliases` come first, on the value as text. Of the rest, every value is a class name, or every value is a
class number from 0. Anything else is an error, and so are values that could be read both ways.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from harness.data.fields import column_values
from harness.data.splits import SplitRows, row_keys
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError, nearest

_WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(?:\.0+)?")


class UnknownLabel(DataError):
    """A value that is no class."""

    def __init__(self, sentence: str, value: Any) -> None:
        super().__init__(sentence)
        self.value = value


def with_class_names(
    spec: DatasetSpec, tables: Mapping[str, pa.Table], parts: Mapping[str, SplitRows]
) -> dict[str, pa.Table]:
    """The tables that the parts come from, with class names in the label column where the card has labels."""
    task: Any = spec.task
    needed = {part.source: tables[part.source] for part in parts.values()}
    if not getattr(task, "labels", ()):
        return needed
    columns = {source: column_values(table, task.label) for source, table in needed.items()}
    several = getattr(task, "multi_label", False)
    values = [value for column in columns.values() for value in column]
    try:
        names = class_names(_flat(values, task.label) if several else values, task.labels, task.aliases)
    except UnknownLabel as error:
        raise DataError(f"row {_where(error.value, columns, spec, needed)}: {error}") from error

    def named(value: Any) -> Any:
        return [names[_key(item)] for item in value] if several else names[_key(value)]

    return {
        source: _with_column(table, task.label, [named(value) for value in columns[source]], several)
        for source, table in needed.items()
    }


def class_names(values: Sequence[Any], labels: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """The name of each distinct value, by its key. Raises DataError where this file's rule decides nothing."""
    if strange := sorted(set(aliases.values()) - set(labels)):
        raise DataError(f"dataset.task.aliases: '{strange[0]}' is no label.{nearest(strange[0], labels)}")
    distinct = {_key(value): value for value in values}
    aliased = {key: aliases[text] for key, value in distinct.items() for text in _texts(value) if text in aliases}
    rest = {key: value for key, value in distinct.items() if key not in aliased}
    named = {key: text for key, value in rest.items() for text in _texts(value) if text in labels}
    numbers = {key: number for key, value in rest.items() if (number := _number(value)) is not None}
    numbered = {key: labels[n] for key, n in numbers.items() if 0 <= n < len(labels)}
    if len(named) == len(rest):
        if len(numbered) == len(rest) and numbered != named and {*named.values(), *aliased.values()} != {*labels}:
            raise DataError(
                f"labels {', '.join(sorted(named.values()))} could be class names or class numbers from 0; "
                "say which name each means in dataset.task.aliases."
            )
        return aliased | named
    if len(numbered) == len(rest) and not named:
        return aliased | numbered
    unnamed = sorted((key in numbered, key) for key in rest if key not in named)  # what is neither comes first
    value = rest[unnamed[0][1]]
    raise UnknownLabel(_sentence(value, labels, sorted(named.values())), value)


def _sentence(value: Any, labels: Sequence[str], named: Sequence[str]) -> str:
    if value is None or value == "":
        return "there is no label; leave rows without one out of the data."
    if isinstance(value, list | dict):
        return f"the label {value!r} is not a single value; a row has one class."
    number = _number(value)
    if number is not None and named and number in range(len(labels)):
        return (
            f"the label {value!r} is a number, and other rows have names ({', '.join(named[:5])}); "
            f'give it a name, as in aliases: {{"{number}": {labels[number]}}}.'
        )
    if number is not None and not named:
        return f"label {value} is outside of 0 to {len(labels) - 1}; this split is perhaps unlabelled."
    return f"unknown label {value!r}.{nearest(str(value), labels)}"


def _where(value: Any, columns: Mapping[str, list[Any]], spec: DatasetSpec, tables: Mapping[str, pa.Table]) -> str:
    for source, values in columns.items():
        for row, other in enumerate(values):
            if _key(value) in {_key(other), *(map(_key, other) if isinstance(other, list) else ())}:
                return row_keys(spec.split, source, tables[source])[row]
    raise AssertionError("a value of these columns is in them")


def _key(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


def _texts(value: Any) -> tuple[str, ...]:
    """How a card may write a value: as it is; true or True; 1.0 or, where it is whole, 1."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bool):
        return (str(value), str(value).lower())
    if isinstance(value, float) and value.is_integer():
        return (repr(value), str(int(value)))
    return (repr(value),) if isinstance(value, int | float) and value == value else ()


def _number(value: Any) -> int | None:
    """A whole number, or the text of one without leading zeros."""
    match = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    if match:
        return int(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if float(value).is_integer() else None


def _flat(values: Sequence[Any], path: str) -> list[Any]:
    """The items of every list. Raises UnknownLabel for what is no list, and for an empty one."""
    for value in values:
        if not isinstance(value, list) or not value:
            sentence = f"'{path}' holds {value!r:.80}; with task.multi_label it must be a list of one label or more."
            raise UnknownLabel(sentence, value)
    return [item for value in values for item in value]


def _with_column(table: pa.Table, path: str, names: list[Any], several: bool) -> pa.Table:
    """The names under the path's own column; a nested label gets a column that is called like the path."""
    column = pa.array(names, pa.list_(pa.string()) if several else pa.string())
    if path in table.column_names:
        return table.set_column(table.column_names.index(path), path, column)
    return table.append_column(path, column)
