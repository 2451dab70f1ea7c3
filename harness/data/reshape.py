"""A source's rows as the card wants them: lists taken apart into rows, rows without a needed value left out."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError

ROW = "row"  # the column that `unnest` adds: the number of the row that the new one is of
_BATCH = 256  # rows taken apart at once: an image is repeated, and an Arrow array holds 2 GB


def reshape(spec: DatasetSpec, table: pa.Table) -> pa.Table:
    """The table after the card's `unnest` and `require`; raises DataError where a column does not allow them."""
    if spec.unnest:
        table = _unnested(table, spec.unnest)
    for name in spec.require:
        _check_there("require", name, table)
        table = table.filter(table.column(name).is_valid())
    return table


def _unnested(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """One row for each item of the lists in `columns`, which go in step; a null is an empty list."""
    for name in columns:
        _check_there("unnest", name, table)
        kind = table.schema.field(name).type
        if not (kinds.is_list(kind) or kinds.is_large_list(kind)):
            raise DataError(f"dataset.unnest: column '{name}' holds {kind} and no lists; leave it out.")
    if ROW in table.column_names:
        raise DataError(f"dataset.unnest adds a column '{ROW}', and the data has one; rename it in the data.")
    starts = range(0, max(table.num_rows, 1), _BATCH)
    return pa.concat_tables(_batch(table.slice(start, _BATCH).combine_chunks(), columns, start) for start in starts)


def _check_there(key: str, name: str, table: pa.Table) -> None:
    if name not in table.column_names:
        raise DataError(f"dataset.{key}: there is no column '{name}'; the data has {', '.join(table.column_names)}.")


def _batch(table: pa.Table, columns: Sequence[str], start: int) -> pa.Table:
    lists = {name: table.column(name).combine_chunks() for name in columns}
    counts = {name: values.value_lengths().fill_null(0).to_numpy() for name, values in lists.items()}
    first = counts[columns[0]]
    for name, other in counts.items():
        if (off := np.flatnonzero(first != other)).size:
            row = int(off[0])
            raise DataError(
                f"row {start + row}: '{columns[0]}' has {first[row]} items and '{name}' {other[row]}; "
                "the lists of dataset.unnest go in step."
            )
    parents = np.repeat(np.arange(table.num_rows), first)
    taken = pa.array(parents, pa.int64())
    made = {
        name: lists[name].flatten() if name in lists else table.column(name).take(taken) for name in table.column_names
    }
    return pa.table({**made, ROW: pa.array(start + parents, pa.int64())})
