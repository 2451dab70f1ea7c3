"""The measured gap between test and training loss beside the published one."""

import numpy as np
import pandas as pd

from analysis.diagnoses import side_records
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.gap import gap_interval
from analysis.stats.intervals import Estimate
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer
from analysis.tables.published import published_in

_GAP_NOTE = (
    "G(W) = |test loss − train loss| at the selected checkpoint, both measured anew in eval mode on the same examples "
    "for all seeds: mean over seeds. Signed gap: 95 % interval over seeds and examples. Published: Beyond LoRA, Table "
    "3, single values without spread; – where it has none."
)


def gap_table(frame: Frame) -> Table | None:
    """G(W) of each method with the interval of the signed gap and the published value; None without side records.

    Made once for a frame: the picture is of the same numbers.
    """
    if "gap" not in frame.kept:
        frame.kept["gap"] = _gap_table(frame)
    return frame.kept["gap"]


def _gap_table(frame: Frame) -> Table | None:
    pairs = side_records(frame, "generalization")
    if not pairs:
        return None
    rows, data = [], []
    for block, label in dict.fromkeys((run["block"], run["label"]) for run, _ in pairs):
        of_cell = [(run, side.answer) for run, side in pairs if (run["block"], run["label"]) == (block, label)]
        size, gap = float(np.mean([answer["g"] for _, answer in of_cell])), _interval([answer for _, answer in of_cell])
        theirs = published_in("table3", of_cell[0][0])
        span = f"{scientific(gap.mean)} [{scientific(gap.low)}, {scientific(gap.high)}]"
        printed = Cell("–", mark="absent") if theirs is None else Cell(scientific(theirs), theirs)
        rows.append(
            (Cell(block), Cell(label), Cell(f"{scientific(size)} ({gap.n})", size), Cell(span, gap.mean), printed)
        )
        data.append((block, label, size, gap.mean, gap.low, gap.high, gap.n, theirs))
    heads = (Head("model / dataset"), Head("method"), Head("G(W)", "nats", "min"), Head("signed gap", "nats"))
    names = ["block", "method", "g", "gap", "low", "high", "n", "published"]
    return Table(
        "generalization",
        "G(W), measured on fixed examples",
        (*heads, Head("published G(W)", "nats", "min")),
        tuple(rows),
        (_GAP_NOTE, footer(frame)),
        pd.DataFrame(data, columns=names),
    )


def _interval(answers: list) -> Estimate:
    """Over the seeds that were measured on the same examples as the first."""
    same = [a for a in answers if all(a[s]["examples"] == answers[0][s]["examples"] for s in ("train", "test"))]
    test, train = (
        ([answer[split]["losses"] for answer in same], answers[0][split]["weights"]) for split in ("test", "train")
    )
    return gap_interval(test, train, np.random.default_rng(0))
