"""Intruder dimensions over the threshold that makes them: how foreign the directions of a tuned weight are."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.diagnoses import side_records
from analysis.figures.style import Picture, colour, legend_below, panels, short, styled
from analysis.frame import Frame

_COLUMNS = ["block", "method", "threshold", "mean", "lowest", "highest", "n"]


@styled
def intruder_curves(frame: Frame) -> Picture | None:
    """One panel per block, a line per method: mean over seeds, the band from the lowest to the highest seed.

    None where no run was diagnosed.
    """
    data = intruder_data(frame)
    if data.empty:
        return None
    blocks = tuple(dict.fromkeys(data["block"]))
    figure, axes = panels(len(blocks))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, blocks, strict=True):
        for label, points in data[data["block"] == block].groupby("method", sort=False):
            hue = colour(frame.methods, str(label))
            dashes = "--" if frame.methods.index(str(label)) >= 8 else "-"
            (handles[str(label)],) = axis.plot(points["threshold"], points["mean"], color=hue, linestyle=dashes)
            axis.fill_between(points["threshold"], points["lowest"], points["highest"], color=hue, alpha=0.15, lw=0)
        axis.set(title=short(block, 40), xlabel="threshold ε", ylabel="intruders per weight", xlim=(0, 1))
        axis.set_ylim(bottom=0)
    legend_below(figure, list(handles.values()), list(handles))
    return Picture("intruders", "Intruders among the first singular vectors", _alt(data), figure, data)


def intruder_data(frame: Frame) -> pd.DataFrame:
    """block, method, threshold, mean, lowest, highest, n: of the leading singular vectors, mean over weights."""
    curves: dict[tuple[str, str], list[np.ndarray]] = {}
    thresholds: np.ndarray = np.array([])
    for run, side in side_records(frame, "intruders"):
        weights = side.answer["weights"]
        if weights:
            thresholds = np.asarray(side.answer["thresholds"], float)
            mean = np.mean([weight["first"] for weight in weights], axis=0)
            curves.setdefault((run["block"], run["label"]), []).append(mean)
    rows = [
        (block, label, threshold, values.mean(), values.min(), values.max(), len(values))
        for (block, label), seeds in curves.items()
        for threshold, values in zip(thresholds, np.array(seeds).T, strict=True)
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _alt(data: pd.DataFrame) -> str:
    middle = data[np.isclose(data["threshold"], 0.5)]
    parts = "; ".join(f"{p.method} in {p.block} {p.mean:.2f}" for p in middle.itertuples(index=False))
    return f"Line plot of intruders per weight against the threshold. At 0.5: {parts}."
