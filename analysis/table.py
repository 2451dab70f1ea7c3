"""A table as a value: cells with a text, a number to sort by and a mark. Knows no format; analysis/render prints it."""

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Mark = Literal["", "best", "second", "third", "absent", "bad"]


@dataclass(frozen=True)
class Cell:
    """`value` sorts and is exported; `why` is the sentence behind a cell without a number."""

    text: str
    value: float | None = None
    mark: Mark = ""
    why: str = ""


@dataclass(frozen=True)
class Head:
    """A column's heading; the unit stands in it, never in the cells."""

    label: str
    unit: str = ""
    direction: Literal["max", "min", "none"] = "none"

    @property
    def text(self) -> str:
        arrow = {"max": " ↑", "min": " ↓", "none": ""}[self.direction]
        return f"{self.label}{f' ({self.unit})' if self.unit else ''}{arrow}"


@dataclass(frozen=True)
class Table:
    """`name` is its file name; `notes` are printed under it; `data` is what the CSV holds (full precision, tidy)."""

    name: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    data: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    @property
    def text_columns(self) -> frozenset[int]:
        """Columns without any number, which are set flush left; the first always is."""
        return frozenset(i for i in range(len(self.heads)) if i == 0 or all(row[i].value is None for row in self.rows))
