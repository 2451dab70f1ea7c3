"""How alike the subspaces are that methods, ranks and seeds find, beside what chance gives."""

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.intervals import seed_range
from analysis.subspaces import SIDES, grids, pairs
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer, range_text

_NOTE = (
    "φ(i, i) of LoRA, section 7.2: the share of the first i singular directions of one run's ΔW that lies in the first "
    "i of the other's; right ones are of inputs, left ones of outputs. Mean over the weights of the middle block and "
    "over pairs of runs [lowest, highest pair]; a method with itself: pairs of seeds. k: the most directions that all "
    "have, up to 8. Chance: what independent random subspaces have, k/d. Columns that are chosen before the training "
    "are shared by design."
)


def subspace_table(frame: Frame) -> Table | None:
    """A row for each two methods of a block, and each method over its seeds; None without side records."""
    rows, data = [], []
    for block, first, second in pairs(frame):
        cells, values = [], []
        for side in SIDES:
            phi, level = grids(frame, block, first, second, side)
            k = min(level.shape)
            if not k:
                break
            leading, whole = (seed_range([grid[i, i] for grid in phi]) for i in (0, k - 1))
            cells += [Cell(f"{number(e.mean, 2)}{range_text(e, _text)}", e.mean) for e in (leading, whole)]
            cells.append(Cell(number(float(level[k - 1, k - 1]), 3), float(level[k - 1, k - 1])))
            values += [leading.mean, whole.mean, float(level[k - 1, k - 1])]
        else:
            name = f"{first}, seeds" if first == second else f"{first} – {second}"
            rows.append((Cell(block), Cell(name), Cell(str(k), k), *cells))
            data.append((block, first, second, k, len(phi), *values))
    if not rows:
        return None
    columns = [f"{side}_{what}" for side in SIDES for what in ("first", "k", "chance")]
    return Table(
        "subspaces",
        "Subspaces that are shared",
        (
            *(Head("model / dataset"), Head("methods"), Head("k")),
            *(Head(f"{side} {what}") for side in SIDES for what in ("φ(1, 1)", "φ(k, k)", "chance")),
        ),
        tuple(rows),
        (_NOTE, footer(frame)),
        pd.DataFrame(data, columns=["block", "method", "other", "k", "pairs", *columns]),
    )


def _text(value: float) -> str:
    return number(float(np.clip(value, 0, 1)), 2)
