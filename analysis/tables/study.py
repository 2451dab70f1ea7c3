"""The study's two tables from our own records: Table 2 (score) and Table 3 (generalization error), block × method."""

import pandas as pd

from analysis.frame import Frame
from analysis.metric import scientific
from analysis.table import Cell, Head, Mark, Table
from analysis.tables.cells import (
    MARK_NOTE,
    RANGE_NOTE,
    absent_cell,
    estimate_of,
    footer,
    lost,
    range_text,
    score_cell,
    supported_marks,
)


def table2(frame: Frame) -> Table:
    """Test score of every method in every block (the study's Table 2)."""
    rows = []
    for block in frame.blocks:
        marks, metric = supported_marks(frame, block, "shown", frame.better(block)), frame.shown(block)
        arrow = "↑" if frame.better(block) == "max" else "↓"
        cells = [_score(frame, block, method, marks) for method in frame.methods]
        rows.append((Cell(block), Cell(f"{metric.axis} {arrow}"), *cells))
    heads = (Head("model / dataset"), Head("metric"), *(Head(m) for m in frame.methods))
    notes = (RANGE_NOTE, MARK_NOTE, footer(frame))
    return Table("table2", f"{frame.title}: test score", heads, tuple(rows), notes, _data(frame, "shown"))


def table3(frame: Frame) -> Table:
    """Empirical generalization error G(W) = |test loss - training loss|, both in eval mode at the selected checkpoint
    (Table 3).
    """
    rows = []
    for block in frame.blocks:
        marks = supported_marks(frame, block, "gap_abs", "min")
        rows.append((Cell(block), *(_gap(frame, block, method, marks) for method in frame.methods)))
    heads = (Head("model / dataset"), *(Head(m, "", "min") for m in frame.methods))
    lead = (
        "G(W) = |test loss − training loss|, both re-evaluated in eval mode; a negative signed gap has "
        "its sign in the CSV."
    )
    notes = (lead, RANGE_NOTE, MARK_NOTE, footer(frame))
    return Table(
        "table3", f"{frame.title}: generalization error G(W)", heads, tuple(rows), notes, _data(frame, "gap_abs")
    )


def _score(frame: Frame, block: str, method: str, marks: dict[str, Mark]) -> Cell:
    runs = frame.cell(block, method)
    if runs.empty:
        return Cell("not planned", mark="absent")
    return score_cell(runs, "shown", frame.shown(block).digits, marks.get(method, ""))


def _gap(frame: Frame, block: str, method: str, marks: dict[str, Mark]) -> Cell:
    runs = frame.cell(block, method)
    if runs.empty:
        return Cell("not planned", mark="absent")
    gap = estimate_of(runs, "gap_abs")
    if gap.n == 0:
        return absent_cell(runs, "gap_abs")
    n = f"({gap.n})" if gap.n == len(runs) else f"({gap.n}/{len(runs)})"
    why = lost(runs, "gap_abs") if gap.n < len(runs) else ""
    return Cell(f"{scientific(gap.mean)}{range_text(gap, scientific)} {n}", gap.mean, marks.get(method, ""), why)


def _data(frame: Frame, column: str) -> pd.DataFrame:
    rows = []
    for block in frame.blocks:
        for method in frame.methods_of(block):
            runs = frame.cell(block, method)
            value, signed = estimate_of(runs, column), estimate_of(runs, "gap")
            row = [block, method, runs.iloc[0]["metric"], value.mean, value.low, value.high, value.n, len(runs)]
            rows.append([*row, lost(runs, column) if value.n < len(runs) else "", signed.mean])
    names = ["block", "method", "metric", "mean", "lowest", "highest", "n", "planned", "reason", "signed_gap"]
    table = pd.DataFrame(rows, columns=names)
    return table.drop(columns="signed_gap") if column == "shown" else table.drop(columns="metric")
