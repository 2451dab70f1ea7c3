"""The table that `compare` re-examines, read and checked."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.table_file import NEEDED, plain_number, plain_spread, read_rows
from harness.ledger.errors import RecordError

_AVERAGES = ("average", "avg", "avg.", "mean", "mean.")  # of the other rows: no block of its own


def read_table(path: Path, metric: str = "") -> pd.DataFrame:
    """The table, checked: columns, numbers, no cell twice, no method under two spellings; without "Average" rows."""
    table = read_rows(path, metric)
    if absent := [name for name in NEEDED if name not in table]:
        wide = " Of a wide table, --metric says what it holds." if not metric else ""
        raise RecordError(
            f"{path}: no column {', '.join(absent)}; it has {', '.join(table)}. Needed: {', '.join(NEEDED)}.{wide}"
        )
    table = table.map(str.strip)
    if (nameless := table[["model", "dataset", "method", "metric"]] == "").any(axis=None):
        line, column = np.argwhere(nameless.to_numpy())[0]
        raise RecordError(f"{path}, row {line + 2}: no {nameless.columns[column]}; every row needs one.")
    table = table[~averages(table)].reset_index(drop=True)
    _check_spelling(table, path)
    table["spread"] = pd.to_numeric(table["value"].map(plain_spread), errors="coerce")
    table["value"] = table["value"].map(plain_number)
    number = pd.to_numeric(table["value"], errors="coerce")
    empty = table["value"] == ""
    if (bad := ~np.isfinite(number) & ~empty).any():
        line = int(np.flatnonzero(bad)[0])
        raise RecordError(
            f"{path}, row {line + 2}: value {table['value'][line]!r} is no finite number; leave it empty for a hole."
        )
    table = table.assign(value=number)[~empty]
    twice = table[table.duplicated(["model", "dataset", "method", "metric"])]
    if len(twice):
        first = twice.iloc[0]
        raise RecordError(
            f"{path}: {first['model']} / {first['dataset']} / {first['method']} / {first['metric']} is given twice; "
            "average its seeds first, or name the settings apart in `method`."
        )
    return table


def averages(table: pd.DataFrame) -> pd.Series:
    """The rows that are means of others, whichever axis says so."""
    names = table[["model", "dataset", "method"]]
    return names.apply(lambda column: column.str.strip().str.lower().isin(_AVERAGES)).any(axis=1)


def _check_spelling(table: pd.DataFrame, path: Path) -> None:
    names: dict[str, str] = {}
    for name in dict.fromkeys(table["method"]):
        if names.setdefault(name.lower(), name) != name:
            raise RecordError(f"{path}: '{names[name.lower()]}' and '{name}' are one method or two? Spell it one way.")
