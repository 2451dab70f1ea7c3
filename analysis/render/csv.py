"""A table's data as CSV in full precision.

A text that a spreadsheet would run as a formula gets an apostrophe before it.
"""

import pandas as pd

from analysis.table import Table


def csv(table: Table) -> str:
    """`table.data` where it has any, else the cells' own values and texts."""
    data = table.data if len(table.data.columns) else _from_cells(table)
    texts = data.select_dtypes(include=["object", "string"]).columns
    return data.assign(**{name: data[name].map(_harmless) for name in texts}).to_csv(index=False, lineterminator="\n")


def _from_cells(table: Table) -> pd.DataFrame:
    rows = [[cell.value if cell.value is not None else cell.text for cell in row] for row in table.rows]
    return pd.DataFrame(rows, columns=[head.text for head in table.heads], dtype=object)


def _harmless(value: object) -> object:
    return (
        f"'{value}"
        if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value[1:2]
        else value
    )
