"""Each method against the control, block by block: the difference, its interval, and "competitive within
the margin?".
"""

from dataclasses import dataclass, replace
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import Frame
from analysis.metric import number
from analysis.scale import scale_of
from analysis.stats.equivalence import Competitive, competitive
from analysis.stats.intervals import Estimate, t_interval
from analysis.stats.paired import holm, t_p
from analysis.stats.power import detectable_note
from analysis.table import Cell, Head, Table
from analysis.tables.cells import far_off, footer, slug
from analysis.tables.ranking import p_cell


@dataclass(frozen=True)
class Difference:
    """One method minus the control in one block, turned so that higher is better; `holm` over the block's methods, the
    interval not adjusted. No interval where a seed of either is far off its others.
    """

    block: str
    method: str
    estimate: Estimate
    p: float
    holm: float
    competitive: Competitive | None


def differences(frame: Frame) -> tuple[Difference, ...]:
    """Every method against the control, over the seeds both have. Empty without a control."""
    return tuple(difference for block in frame.blocks for difference in _of_block(frame, block))


def _of_block(frame: Frame, block: str) -> list[Difference]:
    values = frame.values(block, "shown") * (1 if frame.better(block) == "max" else -1)
    if frame.control not in values:
        return []
    methods = [m for m in values if m != frame.control]
    pairs = [(values[m] - values[frame.control]).dropna().to_numpy() for m in methods]
    scale = scale_of(frame.block(block), "shown")
    raw = np.array([float(t_p(d, scale.step)) if len(d) >= 3 else np.nan for d in pairs])
    judged = frame.margin is not None and frame.shown(block).in_points
    judgements = competitive(pairs, frame.margin, scale.step) if judged and frame.margin else [None] * len(pairs)
    far, odd = scale.high - scale.low, far_off(frame, block)

    def interval(method: str, paired: NDArray[np.float64]) -> Estimate:
        estimate = t_interval(paired, step=scale.step).within(-far, far)
        return estimate if odd.keys().isdisjoint((method, frame.control)) else replace(estimate, low=nan, high=nan)

    return [
        Difference(block, str(m), interval(str(m), d), float(p), float(h), c)
        for m, d, p, h, c in zip(methods, pairs, raw, holm(raw), judgements, strict=True)
    ]


def competitive_table(frame: Frame) -> Table | None:
    """Method × (difference, p, Holm p, competitive?) for every block; None without a control."""
    compared = differences(frame)
    if not compared:
        return None
    rows = tuple(_row(frame, d) for d in compared)
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head(f"difference to {frame.control}", "+ is better; intervals not adjusted"),
        Head("p", "not adjusted"),
        Head("p", f"Holm over the methods against {frame.control}"),
        Head(_question(frame)),
    )
    notes = [
        "Mean paired difference over common seeds [t interval of a shift between the two, at least 95 %: what a paired "
        "t test does not refute] (n): of seeds like these, on this test set. A shift moves all seeds alike: of a "
        "method that loses a seed now and then it says nothing, and where a seed is far off there is no interval. Holm "
        f"within each block over its methods against {frame.control}, the control named by the sweep; the intervals "
        "are each for itself. Fewer than 3 common seeds are no test and have no interval."
    ]
    if frame.margin:
        notes.append(
            f"Competitive: one-sided t test of “not worse by {frame.margin:g}” (p < .05, Holm over the same methods); "
            "no: worse by more than that; otherwise there are not enough runs to say. The margin is the sweep's own."
        )
    notes += [
        f"{block}: {note}"
        for block in frame.blocks
        for note in detectable_note(
            frame.values(block, "shown"), frame.control, frame.shown(block), scale_of(frame.block(block), "shown").step
        )
    ]
    return Table(
        f"against-{slug(frame.control or '')}",
        f"Against {frame.control}",
        heads,
        rows,
        (*notes, footer(frame)),
        _data(compared),
    )


def _question(frame: Frame) -> str:
    return f"competitive within {frame.margin:g} point{'s' * (frame.margin != 1)}?" if frame.margin else "competitive?"


def _row(frame: Frame, d: Difference) -> tuple[Cell, ...]:
    digits, effect = frame.shown(d.block).digits, d.estimate
    if effect.n == 0:
        text = Cell("no common seed", mark="absent")
    else:
        width = f" [{number(effect.low, digits)}, {number(effect.high, digits)}]" if effect.known else ""
        text = Cell(f"{number(effect.mean, digits)}{width} ({effect.n})", effect.mean)
    no_margin = "the margin is in points" if frame.margin else "no margin in the sweep"
    verdict = Cell(no_margin, mark="absent") if d.competitive is None else Cell(d.competitive.verdict)
    return Cell(d.block), Cell(d.method), text, p_cell(d.p), p_cell(d.holm), verdict


def _data(compared: tuple[Difference, ...]) -> pd.DataFrame:
    names = [
        "block",
        "method",
        "difference",
        "low",
        "high",
        "n",
        "p",
        "holm_p",
        "p_not_worse",
        "p_worse",
        "p_equivalent",
        "competitive",
    ]
    rows = []
    for d in compared:
        c = d.competitive
        judged = (c.p_not_worse, c.p_worse, c.p_equivalent, c.verdict) if c else (np.nan, np.nan, np.nan, "")
        rows.append(
            (d.block, d.method, d.estimate.mean, d.estimate.low, d.estimate.high, d.estimate.n, d.p, d.holm, *judged)
        )
    return pd.DataFrame(rows, columns=names)
