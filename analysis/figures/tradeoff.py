"""Score against cost, one panel per block, with the Pareto front over the means.

Methods without a finished run are named in the alt text.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from analysis.columns import column
from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled, whiskers
from analysis.frame import Frame
from analysis.pareto import front
from analysis.stats import exact
from analysis.stats.intervals import Estimate
from analysis.tables.cells import estimate_of, measured

_SHOWN = {"s": ("s", 1.0), "ms": ("ms", 1.0), "bytes": ("MB", 1e-6), "count": ("", 1.0)}


@styled
def score_against(frame: Frame, cost: str) -> Picture:
    """Mean score against the mean of `cost`, a declared column such as train_s, step_bytes or trainable_params (on a
    logarithmic axis); bars reach from the lowest to the highest seed, from three runs on, across for times.
    """
    data = means(frame, cost)
    declared = column(cost)
    unit, _ = _SHOWN[declared.unit]
    figure, axes = panels(max(len(frame.blocks), 1))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, frame.blocks, strict=True):
        here = data[data["block"] == block]
        _panel(axis, frame, here, block, cost, handles)
        axis.set_xlabel(f"{declared.label}{f' ({unit})' if unit else ''}")
        if declared.unit == "count" and (here["cost"] > 0).any():  # from a head to a whole model: orders of magnitude
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_minor_formatter(NullFormatter())
    order = [m for m in frame.methods if m in handles]
    legend_below(figure, [handles[m] for m in order], order)
    return Picture(
        f"score-{cost.removesuffix('_bytes').removesuffix('_s')}",
        f"Score against {declared.label}",
        _alt(frame, data, declared.label),
        figure,
        data,
    )


def means(frame: Frame, cost: str) -> pd.DataFrame:
    """block, method, cost, cost_lowest, cost_highest, score, lowest, highest, n, on_front: one row per method with a
    finished run.
    """
    rows = []
    for block in frame.blocks:
        factor, timed = _SHOWN[column(cost).unit][1], column(cost).unit in ("s", "ms")
        for method in frame.methods_of(block):
            score = estimate_of(frame.cell(block, method), "shown")
            price = estimate_of(frame.cell(block, method), cost)
            if score.n and price.n:
                ends = (price.low * factor, price.high * factor) if timed else (np.nan, np.nan)
                cost_range = (price.mean * factor, *ends)
                rows.append((block, method, *cost_range, score.mean, score.low, score.high, score.n))
    names = ["block", "method", "cost", "cost_lowest", "cost_highest", "score", "lowest", "highest", "n"]
    data = pd.DataFrame(rows, columns=names)
    data["on_front"] = False
    for block, here in data.groupby("block"):
        higher = frame.better(str(block)) == "max"
        points = np.array([_exact_means(frame, str(block), m, cost) for m in here["method"]])
        data.loc[here.index, "on_front"] = front(points * [1 if higher else -1, -1])
    return data


def _exact_means(frame: Frame, block: str, method: str, cost: str) -> list[float]:
    """Mean score and cost, equal where counts are equal."""
    return [float(exact.mean(measured(frame.cell(block, method), name))) for name in ("shown", cost)]


def _panel(axis: Any, frame: Frame, here: pd.DataFrame, block: str, cost: str, handles: dict[str, Any]) -> None:
    timed = column(cost).unit in ("s", "ms")  # a count or a ledger is exact
    line = here[here["on_front"]].sort_values("cost")
    axis.plot(
        line["cost"], line["score"], color="#8c959f", linewidth=1.2, linestyle="--", zorder=1, drawstyle="steps-post"
    )
    for row in here.itertuples():
        up = whiskers(Estimate(row.score, row.lowest, row.highest, row.n))
        across = whiskers(Estimate(row.cost, row.cost_lowest, row.cost_highest, row.n)) if timed else None
        handles[row.method] = axis.errorbar(
            row.cost,
            row.score,
            yerr=up,
            xerr=across,
            marker=marker(frame.methods, row.method),
            linestyle="none",
            color=colour(frame.methods, row.method),
            capsize=2.5,
            elinewidth=1.0,
            zorder=3,
        )
    metric = frame.shown(block)
    axis.set_title(short(block, 40))
    axis.set_ylabel(metric.axis)
    axis.margins(0.12)
    if here.empty:
        axis.text(0.5, 0.5, "no finished run", ha="center", va="center", transform=axis.transAxes)
    if frame.better(block) == "min":
        axis.invert_yaxis()  # up is better in every panel


def _alt(frame: Frame, data: pd.DataFrame, label: str) -> str:
    sentences = []
    for block in frame.blocks:
        here = data[data["block"] == block]
        best = ", ".join(here.loc[here["on_front"], "method"]) or "no method"
        missing = [m for m in frame.methods_of(block) if m not in set(here["method"])]
        sentences.append(
            f"{block}: on the front {best}" + (f"; without a finished run {', '.join(missing)}" if missing else "")
        )
    return (
        f"Scatter plot of the score against {label}, a point per method with bars from its lowest to its highest seed. "
        + ". ".join(sentences)
        + "."
    )
