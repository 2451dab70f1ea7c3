"""Adapters served at ranks below their own: score against latency, as `peftlab shrink` measured them."""

from analysis.frame import Frame
from analysis.metric import number
from analysis.shrunk import served
from analysis.stats.intervals import seed_range
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer, range_text


def served_table(frame: Frame) -> Table | None:
    """A row for each adapter and rank, over seeds; None where no adapter of the sweep was measured so."""
    data = served(frame)
    if data.empty:
        return None
    rows = []
    for (block, label, rank), runs in data.groupby(["block", "label", "rank"], sort=False):
        score, latency = seed_range(runs["score"]), seed_range(runs["latency_ms"])
        digits = frame.shown(str(block)).digits
        text = f"{number(score.mean, digits)}{range_text(score, lambda v, d=digits: number(v, d))} ({score.n})"
        names = Cell(str(block)), Cell(str(label)), Cell(str(rank), float(str(rank)))
        time = f"{latency.mean:.2f}{range_text(latency, lambda v: f'{v:.2f}')}"
        rows.append((*names, Cell(text, score.mean), Cell(time, latency.mean)))
    heads = (
        Head("model / dataset"), Head("adapter"), Head("served at rank"), Head("test score"),
        Head("forward pass", "ms", "min"),
    )  # fmt: skip
    turns = "the ranks of one adapter took turns, adapters did not"
    means = f"Mean [lowest, highest seed] (n). Forward pass of one batch, adapter not merged: median; {turns}."
    notes = (means, footer(frame))
    return Table("rank-served", "Adapters at ranks below their own", heads, tuple(rows), notes, data)
