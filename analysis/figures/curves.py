"""Learning curves: the validation score against optimizer steps, mean over seeds, with the range of the seeds."""

from typing import Any

import pandas as pd

from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled
from analysis.frame import Frame


@styled
def learning_curves(frame: Frame) -> Picture:
    """One panel per block; the band is the range over seeds (minimum to maximum), not an interval of the mean."""
    data = curve_table(frame)
    figure, axes = panels(max(len(frame.blocks), 1))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, frame.blocks, strict=True):
        here = data[data["block"] == block]
        for method, points in here.groupby("method", sort=False):
            tint = colour(frame.methods, str(method))
            (handles[str(method)],) = axis.plot(
                points["step"], points["mean"], color=tint, marker=marker(frame.methods, str(method)), markersize=4
            )
            axis.fill_between(
                points["step"],
                points["low"],
                points["high"],
                color=tint,
                alpha=0.15 if len(frame.methods) < 6 else 0.06,
                linewidth=0,
            )
        metric = frame.shown(block)
        axis.set_title(short(block, 40))
        axis.set_xlabel("optimizer step")
        axis.set_ylabel(f"validation {metric.axis}")
        if frame.better(block) == "min":
            axis.invert_yaxis()
    order = [m for m in frame.methods if m in handles]
    legend_below(figure, [handles[m] for m in order], order)
    return Picture("learning-curves", "Learning curves", _alt(frame, data), figure, data)


def curve_table(frame: Frame) -> pd.DataFrame:
    """block, method, step, mean, low, high, n: over the seeds that have a point at that step."""
    if frame.curves.empty:
        return pd.DataFrame(columns=["block", "method", "step", "mean", "low", "high", "n"])
    facts = frame.rows[["id", "block", "label", "score", "shown"]].rename(columns={"label": "method"})
    points = frame.curves.merge(facts, on="id")
    points["value"] = points["val_score"] * points["block"].map({b: frame.shown(b).factor for b in frame.blocks})
    table = (
        points.dropna(subset="value")
        .groupby(["block", "method", "step"], observed=True)["value"]
        .agg(["mean", "min", "max", "count"])
    )
    table = table.rename(columns={"min": "low", "max": "high", "count": "n"}).reset_index()
    place = {m: i for i, m in enumerate(frame.methods)}, {b: i for i, b in enumerate(frame.blocks)}
    return table.sort_values(
        ["block", "method", "step"],
        key=lambda k: k.map(place[0] if k.name == "method" else place[1]) if k.name != "step" else k,
        ignore_index=True,
    )


def _alt(frame: Frame, data: pd.DataFrame) -> str:
    last = data.groupby(["block", "method"], sort=False).last().reset_index()
    sentences = [
        f"{b}: " + ", ".join(f"{r.method} ends at {r.mean:.2f}" for r in last[last["block"] == b].itertuples())
        for b in frame.blocks
    ]
    return "Line plot of the validation score against optimizer steps. " + "; ".join(sentences) + "."
