"""Encoded rows on disk: one Arrow file a split, memory-mapped, so that runs and processes share one copy in memory."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

CHUNK = 1024  # rows in a record batch; all but the last hold exactly as many


class Rows(Sequence[Mapping[str, Any]]):
    """Random access to the examples of a file: numbers as int or float, lists and bytes as numpy views of the file."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._names = reader.schema.names
        self._columns: dict[int, list[Any]] = {}
        self._count = sum(batch.num_rows for batch in self._batches)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(self._count))]
        if not -self._count <= row < self._count:
            raise IndexError(row)
        chunk, at = divmod(row % self._count, CHUNK)
        return {name: column[at] for name, column in zip(self._names, self._chunk(chunk), strict=True)}

    def column(self, name: str) -> list[Any]:
        """One plain column as a list."""
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]

    def _chunk(self, number: int) -> list[Any]:
        if number not in self._columns:
            self._columns[number] = [_view(column) for column in self._batches[number].columns]
        return self._columns[number]


class _Lists:
    """Rows of a list or binary column as slices of one flat array."""

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        self._values, self._offsets = values, offsets.tolist()

    def __getitem__(self, row: int) -> np.ndarray:
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def write_rows(path: Path, examples: Iterable[Mapping[str, Any]]) -> None:
    """Write examples of one shape (str, int, float, list of int, bytes). An empty split has no columns."""
    rows = iter(examples)
    first = list(itertools.islice(rows, CHUNK))
    schema = pa.schema([(name, _type(value)) for name, value in first[0].items()] if first else [])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for chunk in itertools.chain([first] if first else [], _chunks(rows)):
            writer.write_batch(pa.RecordBatch.from_pylist(chunk, schema=schema))


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk


def _type(value: Any) -> pa.DataType:
    if isinstance(value, list):
        return (
            pa.large_list(pa.int32()) if not value or not isinstance(value[0], list) else pa.large_list(_type(value[0]))
        )
    return {str: pa.large_string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), bytes: pa.large_binary()}[
        type(value)
    ]


def _view(column: pa.Array) -> Any:
    kind = column.type
    if pa.types.is_large_binary(kind):
        _, offsets, data = column.buffers()
        return _Lists(np.frombuffer(data, np.uint8), _offsets(offsets, column))
    if pa.types.is_large_list(kind) and pa.types.is_integer(kind.value_type):
        return _Lists(column.values.to_numpy(), _offsets(column.buffers()[1], column))
    return column.to_pylist()


def _offsets(buffer: pa.Buffer, column: pa.Array) -> np.ndarray:
    return np.frombuffer(buffer, np.int64)[column.offset : column.offset + len(column) + 1]
