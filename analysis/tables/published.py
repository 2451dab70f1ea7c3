"""Ours beside the study's printed values: the difference, and whether it lies within the range of our seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.frame import Frame
from analysis.metric import number, scientific
from analysis.published import published_value
from analysis.stats.intervals import Estimate
from analysis.table import Cell, Head, Table
from analysis.tables.cells import estimate_of, footer, range_text

_COLUMN = {"table2": "shown", "table3": "gap_abs"}
_NAMES = ("model_size", "model", "model_label", "dataset", "dataset_label", "method_name", "plain_label")
_TITLE = {"table2": "Score beside the published Table 2", "table3": "G(W) beside the published Table 3"}


def beside_published(frame: Frame, which: str) -> Table | None:
    """`which`: "table2" or "table3".

    None when the paper has no cell of this sweep; models of size tiny have no counterpart.
    """
    rows, data = [], []
    for block in frame.blocks:
        for method in frame.methods_of(block):
            runs = frame.cell(block, method)
            theirs = published_in(which, {name: runs.at[runs.index[0], name] for name in _NAMES})
            if theirs is None or (ours := estimate_of(runs, _COLUMN[which])).n == 0:
                continue
            inside = None if not ours.known else bool(ours.low <= theirs <= ours.high)
            rows.append(_row(frame, block, method, ours, theirs, inside, which))
            data.append((block, method, ours.mean, ours.low, ours.high, ours.n, theirs, ours.mean - theirs, inside))
    if not rows:
        return None
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("ours"),
        Head("published"),
        Head("difference"),
        Head("within our seeds"),
    )
    note = (
        "Published values are single numbers without spread, seed count or complete settings: a "
        "difference is a question, not a verdict. Ours: mean [lowest, highest seed] (n)."
    )
    names = ["block", "method", "ours", "lowest", "highest", "n", "published", "difference", "inside"]
    return Table(
        f"published-{which}",
        _TITLE[which],
        heads,
        tuple(rows),
        (note, footer(frame)),
        pd.DataFrame(data, columns=names),
    )


def published_in(which: str, run: Mapping[Any, Any]) -> float | None:
    """The printed value of a run's cell; None where there is none, and for a model that is not of full size."""
    if run["model_size"] != "full":
        return None
    names = (
        (run["model"], run["model_label"]),
        (run["dataset"], run["dataset_label"]),
        (run["method_name"], run["plain_label"]),
    )
    return published_value(which, *names)


def _row(
    frame: Frame, block: str, method: str, ours: Estimate, theirs: float, inside: bool | None, which: str
) -> tuple[Cell, ...]:
    def text(value: float) -> str:
        return scientific(value) if which == "table3" else number(value, frame.shown(block).digits)

    answer = "too few runs for a range" if inside is None else "yes" if inside else "no"
    return (
        Cell(block),
        Cell(method),
        Cell(f"{text(ours.mean)}{range_text(ours, text)} ({ours.n})", ours.mean),
        Cell(text(theirs), theirs),
        Cell(text(ours.mean - theirs), ours.mean - theirs),
        Cell(answer, mark="absent" if inside is None else ""),
    )
