"""Each method against the control on the test examples themselves: what another test set might have said."""

import numpy as np
import pandas as pd

from analysis.examples import ANSWERED, OnExamples, answers, on_examples
from analysis.frame import Frame
from analysis.metric import number
from analysis.table import Cell, Head, Table
from analysis.tables.cells import SEED, footer, slug
from analysis.tables.ranking import p_cell
from harness.ledger.errors import RecordError


def examples_table(frame: Frame, rng: np.random.Generator | None = None, *, reps: int = 10_000) -> Table | None:
    """Block × method: share of right answers minus the control's, with its seeds × examples BCa interval, and McNemar.

    Only blocks whose metric counts right answers. None without a control, or where no run kept predictions.
    """
    rng = rng or np.random.default_rng(SEED)
    if frame.control is None or not answers(frame):
        return None
    rows, data = [], []
    for block in frame.blocks:
        if frame.block(block).iloc[0]["metric"] not in ANSWERED:
            continue
        for method in frame.methods_of(block):
            if method != frame.control:
                paired = _found(frame, block, method, rng, reps)
                rows.append((Cell(block), Cell(method), *_cells(paired)))
                data += [_plain(block, method, paired)] if isinstance(paired, OnExamples) else []
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("test examples"),
        Head(f"right answers, difference to {frame.control}", "points, + is better"),
        Head("McNemar p"),
    )
    notes = (
        "Mean paired difference [95 % BCa interval over seeds and test examples] (seeds). Wider than the interval over "
        "seeds alone where another test set might have said something else. McNemar's exact test is of one seed; with "
        "several, it says in how many it is below .05. Of one seed, the interval is over examples only: another "
        "seed may say something else. Neither is adjusted for the number of rows.",
        footer(frame),
    )
    table = pd.DataFrame(data, columns=list(_NAMES))
    return Table(f"examples-{slug(frame.control)}", "On the same test examples", heads, tuple(rows), notes, table)


_NAMES = ("block", "method", "difference", "low", "high", "seeds", "examples", "mcnemar_p")


def _found(frame: Frame, block: str, method: str, rng: np.random.Generator, reps: int) -> OnExamples | str:
    try:
        return on_examples(frame, block, method, rng, reps=reps)
    except RecordError as error:
        return str(error)


def _cells(paired: OnExamples | str) -> tuple[Cell, Cell, Cell]:
    if isinstance(paired, str):
        return Cell("–", mark="absent"), Cell("not paired", mark="absent", why=paired), Cell("–", mark="absent")
    d, n = paired.difference, len(paired.seeds)
    text = f"{number(100 * d.mean, 2)} [{number(100 * d.low, 2)}, {number(100 * d.high, 2)}] "
    text += "(1: examples only)" if n == 1 else f"({n})"
    small = sum(p < 0.05 for p in paired.mcnemar)
    p = p_cell(paired.mcnemar[0]) if n == 1 else Cell(f"< .05 in {small} of {n}", small / n)
    return Cell(f"{paired.examples:,}", paired.examples), Cell(text, 100 * d.mean), p


def _plain(block: str, method: str, paired: OnExamples) -> tuple[object, ...]:
    d = paired.difference
    p = " ".join(f"{value:.6g}" for value in paired.mcnemar)
    return block, method, 100 * d.mean, 100 * d.low, 100 * d.high, len(paired.seeds), paired.examples, p
