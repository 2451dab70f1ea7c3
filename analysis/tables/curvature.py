"""How sharp the loss is where runs ended: eigenvalue, trace, and the rise on a ring, for each method."""

import pandas as pd

from analysis.diagnoses import diagnoses
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.intervals import Estimate, seed_range
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer, range_text

COLUMNS = {
    "largest_eigenvalue": Head("λ_max"),
    "trace": Head("trace"),
    "trace_error": Head("its standard error"),
    "ring_rise": Head("rise on a ring, mean"),
    "ring_rise_max": Head("largest"),
}
_NOTE = (
    "Of the training loss over few examples, alike for all methods and seeds, with respect to the adapted weights of "
    "the merged model: largest eigenvalue and trace of the Hessian, the trace's standard error over random vectors "
    "(mean over seeds); rise over the loss at the weights on a ring where each row moves by half its norm in a random "
    "direction. Mean over seeds [lowest, highest seed]; – was not measured."
)


def curvature_table(frame: Frame) -> Table | None:
    """A row for each method of each block; None where neither curvature nor landscape was diagnosed."""
    runs = sharpness(frame)
    if runs.empty:
        return None
    rows, data = [], []
    cells = dict(list(runs.groupby(["block", "label"])))
    places = [(block, label) for block in frame.blocks for label in frame.methods_of(block)]
    for block, label in filter(cells.__contains__, places):
        of_cell = cells[block, label]
        estimates = [seed_range(of_cell[name].dropna()) for name in COLUMNS]
        rows.append((Cell(block), Cell(label), *map(_cell, estimates)))
        data.append((block, label, len(of_cell), *(v for e in estimates for v in (e.mean, e.low, e.high))))
    names = [f"{name}{end}" for name in COLUMNS for end in ("", "_lowest", "_highest")]
    return Table(
        "curvature",
        "Curvature of the training loss",
        (Head("model / dataset"), Head("method"), *COLUMNS.values()),
        tuple(rows),
        (_NOTE, footer(frame)),
        pd.DataFrame(data, columns=["block", "method", "n", *names]),
    )


def sharpness(frame: Frame) -> pd.DataFrame:
    """id, block, label, seed and the numbers of both kinds, NaN where one was not measured; empty without any."""
    keys = ["id", "block", "label", "seed"]
    found = [runs for kind in ("curvature", "landscape") if len(runs := diagnoses(frame, kind))]
    if not found:
        return pd.DataFrame()
    joined = found[0] if len(found) == 1 else found[0].merge(found[1], on=keys, how="outer", sort=False)
    return joined.reindex(columns=[*keys, *COLUMNS])


def _cell(estimate: Estimate) -> Cell:
    if not estimate.n:
        return Cell("–", mark="absent")
    return Cell(f"{scientific(estimate.mean)}{range_text(estimate, scientific)}", estimate.mean)
