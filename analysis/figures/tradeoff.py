"""Score against cost, one panel per block, with the Pareto front over the means.

Methods without a finished run are named in the alt text.
"""

from typing import Any

import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from analysis.columns import column
from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled
from analysis.frame import Frame
from analysis.pareto import front
from analysis.tables.cells import estimate_of

_SHOWN = {"s": ("s", 1.0), "ms": ("ms", 1.0), "bytes": ("MB", 1e-6), "count": ("", 1.0)}


@styled
def score_against(frame: Frame, cost: str) -> Picture:
    """Mean score (± 95 % t interval from three runs on) against the mean of `cost`, a declared column such as train_s,
    step_bytes or trainable_params (on a logarithmic axis).
    """
    data = means(frame, cost)
    declared = column(cost)
    unit, _ = _SHOWN[declared.unit]
    figure, axes = panels(max(len(frame.blocks), 1))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, frame.blocks, strict=True):
        here = data[data["block"] == block]
        _panel(axis, frame, here, block, handles)
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
    """block, method, cost, score, low, high, n, on_front: one row per method with a finished run."""
    rows = []
    for block in frame.blocks:
        factor = _SHOWN[column(cost).unit][1]
        for method in frame.methods_of(block):
            score = estimate_of(frame.cell(block, method), "shown")
            price = estimate_of(frame.cell(block, method), cost)
            if score.n and price.n:
                rows.append((block, method, price.mean * factor, score.mean, score.low, score.high, score.n))
    data = pd.DataFrame(rows, columns=["block", "method", "cost", "score", "low", "high", "n"])
    data["on_front"] = False
    for block, here in data.groupby("block"):
        higher = frame.better(str(block)) == "max"
        points = here[["score", "cost"]].to_numpy() * [1 if higher else -1, -1]
        data.loc[here.index, "on_front"] = front(points)
    return data


def _panel(axis: Any, frame: Frame, here: pd.DataFrame, block: str, handles: dict[str, Any]) -> None:
    line = here[here["on_front"]].sort_values("cost")
    axis.plot(
        line["cost"], line["score"], color="#8c959f", linewidth=1.2, linestyle="--", zorder=1, drawstyle="steps-post"
    )
    for row in here.itertuples():
        half = [[max(row.score - row.low, 0)], [max(row.high - row.score, 0)]] if row.n > 2 else None
        handles[row.method] = axis.errorbar(
            row.cost,
            row.score,
            yerr=half,
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
    said = []
    for block in frame.blocks:
        here = data[data["block"] == block]
        best = ", ".join(here.loc[here["on_front"], "method"]) or "no method"
        missing = [m for m in frame.methods_of(block) if m not in set(here["method"])]
        said.append(
            f"{block}: on the front {best}" + (f"; without a finished run {', '.join(missing)}" if missing else "")
        )
    return (
        f"Scatter plot of the score against {label}, a point per method with its 95 % interval. "
        + ". ".join(said)
        + "."
    )
