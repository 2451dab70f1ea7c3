"""Rules of thumb about rank as one table: yes, no, or not enough runs, with the test behind each."""

import pandas as pd

from analysis.frame import Frame
from analysis.rank_rules import OPEN, Judged, judge
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer, range_text


def rules_table(frame: Frame) -> Table | None:
    """A row for each rule and block; None where nothing could be tested."""
    judged = judge(frame)
    if all(row.estimate is None for row in judged):
        return None
    rows = tuple(
        (Cell(row.block), Cell(row.rule), _verdict(row.verdict), _measured(row), Cell(row.test)) for row in judged
    )
    heads = ("model / dataset", "rule of thumb", "holds here", "measured", "test")
    notes = (
        "Mean, 95 % t interval and n (seeds); yes and no only where the interval decides, below three seeds never. Of "
        f"rates that were tried, validation's choice. Margin: {frame.margin} points. One data set is no law.",
        footer(frame),
    )
    return Table("rank-rules", "Rules of thumb about rank", tuple(map(Head, heads)), rows, notes, _data(judged))


def _verdict(verdict: str) -> Cell:
    return Cell(verdict, mark="absent" if verdict == OPEN else "")


def _measured(row: Judged) -> Cell:
    if row.estimate is None:
        return Cell("–", mark="absent")
    width = range_text(row.estimate, lambda value: f"{value:+.2f}")
    return Cell(f"{row.estimate.mean:+.2f}{width} ({row.estimate.n})", row.estimate.mean)


def _data(judged: list[Judged]) -> pd.DataFrame:
    names = ["block", "rule", "verdict", "mean", "low", "high", "n", "test"]
    nothing = (None, None, None, 0)
    rows = []
    for row in judged:
        e = row.estimate
        rows.append((row.block, row.rule, row.verdict, *((e.mean, e.low, e.high, e.n) if e else nothing), row.test))
    return pd.DataFrame(rows, columns=names)
