"""The gap of each method with its interval, and score against what was retained: one panel per block."""

from typing import Any

import pandas as pd

from analysis.figures.style import INK, Picture, colour, legend_below, marker, panels, short, styled, whiskers
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.intervals import Estimate
from analysis.tables.forgetting import retention
from analysis.tables.generalization import gap_table


@styled
def gap_intervals(frame: Frame) -> Picture | None:
    """Test loss less train loss with its 95 % interval over seeds and examples: G(W) is its distance from zero. None
    without side records.
    """
    table = gap_table(frame)
    if table is None:
        return None
    data = table.data
    blocks = [block for block in frame.blocks if block in set(data["block"])]
    most = int(data["block"].value_counts().max())
    figure, axes = panels(len(blocks), width=4.0, height=0.9 + 0.27 * most)
    for axis, block in zip(axes, blocks, strict=True):
        here = data[data["block"] == block]
        axis.axvline(0, color=INK, linewidth=0.9)
        for y, row in enumerate(here[::-1].itertuples()):
            tint, sign = colour(frame.methods, row.method), marker(frame.methods, row.method)
            half = whiskers(Estimate(row.gap, row.low, row.high, row.n))
            axis.errorbar(row.gap, y, xerr=half, color=tint, marker=sign, capsize=2.5, linestyle="none")
        axis.set_yticks(range(len(here)), [short(method) for method in here["method"][::-1]])
        axis.set_ylim(-0.6, len(here) - 0.4)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.1)
        axis.locator_params(axis="x", nbins=5)
        axis.set_title(short(block, 40))
        axis.set_xlabel("test loss − train loss (nats)")
    points = [f"{r.block}, {r.method}: {scientific(r.gap)}" for r in data.itertuples()]
    alt = f"Test loss less train loss of each method, with 95 % intervals. {'; '.join(points)}."
    return Picture("gap", "Test loss less train loss; G(W) is the distance from zero", alt, figure, data)


@styled
def score_against_retention(frame: Frame) -> Picture | None:
    """Mean score against accuracy on the data known before, bars from the lowest to the highest seed, and the front of
    the means. None without side records.
    """
    data = retention(frame)
    if data.empty:
        return None
    blocks = [block for block in frame.blocks if block in set(data["block"])]
    figure, axes = panels(len(blocks))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, blocks, strict=True):
        _panel(axis, frame, data[data["block"] == block], block, handles)
    order = [method for method in frame.methods if method in handles]
    legend_below(figure, [handles[method] for method in order], order)
    return Picture("score-retention", "Score against retention", _alt(data, blocks), figure, data)


def _panel(axis: Any, frame: Frame, here: pd.DataFrame, block: str, handles: dict[str, Any]) -> None:
    line = here[here["on_front"]].sort_values("retained")
    axis.plot(
        line["retained"], line["score"], color="#8c959f", linewidth=1.2, linestyle="--", drawstyle="steps-pre", zorder=1
    )
    for row in here.itertuples():
        handles[row.method] = axis.errorbar(
            row.retained,
            row.score,
            xerr=whiskers(Estimate(row.retained, row.retained_lowest, row.retained_highest, row.n)),
            yerr=whiskers(Estimate(row.score, row.score_lowest, row.score_highest, row.n)),
            marker=marker(frame.methods, row.method),
            color=colour(frame.methods, row.method),
            linestyle="none",
            capsize=2.5,
            elinewidth=1.0,
            zorder=3,
        )
    axis.set_title(short(block, 40))
    axis.set_xlabel("accuracy on data known before (%)")
    axis.set_ylabel(frame.shown(block).axis)
    axis.margins(0.12)
    if frame.better(block) == "min":
        axis.invert_yaxis()  # up is better in every panel


def _alt(data: pd.DataFrame, blocks: list[str]) -> str:
    fronts = [
        f"{block}: {', '.join(data.loc[(data['block'] == block) & data['on_front'], 'method']) or 'no method'}"
        for block in blocks
    ]
    return f"Scatter plot of the score against the accuracy retained. On the front, {'; '.join(fronts)}."
