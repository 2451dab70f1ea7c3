"""Adapters served at ranks below their own: what a lower rank costs in score, and saves in time."""

import pandas as pd

from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled
from analysis.frame import Frame
from analysis.metric import number
from analysis.shrunk import served


@styled
def rank_served(frame: Frame) -> Picture | None:
    """A panel for each block, a line for each adapter: mean score against mean latency, a point for each rank.

    None where no adapter of the sweep was measured by `peftlab shrink`.
    """
    data = served_data(frame)
    if data.empty:
        return None
    labels = tuple(dict.fromkeys(data["label"]))
    groups, handles = list(data.groupby("block", sort=False)), {}
    figure, axes = panels(len(groups), width=4.2, height=3.2)
    for axis, (block, points) in zip(axes, groups, strict=True):
        for label, line in points.groupby("label", sort=False):
            style = {"color": colour(labels, str(label)), "marker": marker(labels, str(label))}
            (handles[label],) = axis.plot(line["latency_ms"], line["score"], markersize=5, linewidth=1, **style)
            for point in line.itertuples(index=False):
                place = (point.latency_ms, point.score)
                axis.annotate(f"{point.rank}", place, xytext=(4, 4), textcoords="offset points", fontsize=7)
        axis.margins(0.1)
        axis.set_title(short(str(block)))
        axis.set(xlabel="forward pass of a batch, unmerged (ms)", ylabel=frame.shown(str(block)).axis)
    legend_below(figure, list(handles.values()), [str(label) for label in handles])
    return Picture("rank-served", "Score against latency at each rank served", _alt(data), figure, data)


def served_data(frame: Frame) -> pd.DataFrame:
    """block, label, rank, score and latency_ms (means over seeds), n (seeds)."""
    grouped = served(frame).groupby(["block", "label", "rank"], sort=False)
    return grouped.agg(score=("score", "mean"), latency_ms=("latency_ms", "mean"), n=("seed", "nunique")).reset_index()


def _alt(data: pd.DataFrame) -> str:
    points = [
        f"{p.label} on {p.block} at rank {p.rank}: {number(float(p.score), 1)} in {float(p.latency_ms):.2f} ms"
        for p in data.itertuples(index=False)
    ]
    return f"Score against the time of a forward pass, for adapters served at lower ranks. {'; '.join(points)}."
