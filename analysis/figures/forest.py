"""A forest plot of the differences to the control, one panel per block, with the margin of "competitive"."""

from typing import Any

import pandas as pd

from analysis.figures.style import INK, PAPER, Picture, colour, marker, panels, short, styled, whiskers
from analysis.frame import Frame
from analysis.metric import number
from analysis.tables.competitive import Difference, differences


@styled
def forest(frame: Frame) -> Picture | None:
    """Mean paired difference, and 95 % t interval of a shift from three common seeds on; right of zero is better than
    the control. None without a control.
    """
    compared = differences(frame)
    if not compared:
        return None
    most = max(len(frame.methods_of(b)) for b in frame.blocks)
    figure, axes = panels(len(frame.blocks), width=4.2, height=0.9 + 0.27 * most, columns=2)
    for axis, block in zip(axes, frame.blocks, strict=True):
        _panel(axis, frame, block, [d for d in compared if d.block == block])
    rows = [
        (d.block, d.method, d.estimate.mean, d.estimate.low, d.estimate.high, d.estimate.n, d.holm) for d in compared
    ]
    data = pd.DataFrame(rows, columns=["block", "method", "difference", "low", "high", "n", "holm_p"])
    return Picture("forest", f"Differences to {frame.control}", _alt(frame, compared), figure, data)


def _panel(axis: Any, frame: Frame, block: str, compared: list[Difference]) -> None:
    metric = frame.shown(block)
    axis.axvline(0, color=INK, linewidth=0.9)
    if frame.margin and metric.in_points:
        axis.axvspan(-frame.margin, frame.margin, color="#8c959f", alpha=0.16, linewidth=0)
    for y, d in enumerate(reversed(compared)):
        if d.estimate.n == 0:
            where = axis.get_yaxis_transform()
            axis.text(0.02, y, "no common seed", transform=where, fontsize=7.5, va="center", fontstyle="italic")
            continue
        half = whiskers(d.estimate)
        sure = d.holm < 0.05
        axis.errorbar(
            d.estimate.mean,
            y,
            xerr=half,
            marker=marker(frame.methods, d.method),
            color=colour(frame.methods, d.method),
            markerfacecolor=None if sure else PAPER,
            capsize=2.5,
            linestyle="none",
        )
    axis.set_yticks(range(len(compared)), [short(d.method) for d in reversed(compared)])
    axis.set_ylim(-0.6, len(compared) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.1)
    axis.set_title(short(block, 40))
    unit = "points" if metric.in_points else metric.name
    axis.set_xlabel(f"difference to {frame.control} ({unit}), better →")


def _alt(frame: Frame, compared: tuple[Difference, ...]) -> str:
    sentences = []
    for d in compared:
        digits = frame.shown(d.block).digits
        if d.estimate.n:
            sure = "significant" if d.holm < 0.05 else "not significant"
            sentences.append(f"{d.block}, {d.method}: {number(d.estimate.mean, digits)}, {sure}")
    return (
        f"Forest plot of differences to {frame.control}; filled markers are significant after Holm, "
        "the grey band is the margin. " + "; ".join(sentences) + "."
    )
