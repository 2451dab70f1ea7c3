"""What updates look like: ranks and size of ΔW for each method."""

import pandas as pd

from analysis.diagnoses import diagnoses
from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.intervals import Estimate, seed_range
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer, range_text

COLUMNS = {
    "stable_rank": Head("stable rank"),
    "numerical_rank": Head("numerical rank"),
    "relative_norm": Head("‖ΔW‖ / ‖W₀‖", "%"),
}
_NOTE = (
    "Of the update of each adapted weight, mean over these, then over seeds, with the lowest and "
    "the highest seed of three or more. Stable rank: ‖ΔW‖² / σ². Numerical rank: singular values above 1e-4 of "
    "the largest. Methods that change no such weight are left out."
)


def geometry_table(frame: Frame) -> Table | None:
    """A row for each method of each block; None where no run was diagnosed, or none changed a weight."""
    runs = diagnoses(frame, "geometry")
    if runs.empty or not (runs["relative_norm"] > 0).any():
        return None
    runs = runs[runs["relative_norm"] > 0]
    rows, data = [], []
    for (block, label), of_cell in runs.groupby(["block", "label"], sort=False):
        estimates = {name: seed_range(of_cell[name] * (100 if name == "relative_norm" else 1)) for name in COLUMNS}
        rows.append((Cell(str(block)), Cell(str(label)), *(_cell(e, name) for name, e in estimates.items())))
        data.append((block, label, len(of_cell), *(v for e in estimates.values() for v in (e.mean, e.low, e.high))))
    names = [f"{name}{end}" for name in COLUMNS for end in ("", "_lowest", "_highest")]
    return Table(
        "geometry",
        "The geometry of the updates",
        (Head("model / dataset"), Head("method"), *COLUMNS.values()),
        tuple(rows),
        (_NOTE, footer(frame)),
        pd.DataFrame(data, columns=["block", "method", "n", *names]),
    )


def _cell(estimate: Estimate, name: str) -> Cell:
    digits = 2 if name in ("stable_rank", "relative_norm") else 1
    return Cell(
        f"{number(estimate.mean, digits)}{range_text(estimate, lambda value: number(value, digits))}", estimate.mean
    )
