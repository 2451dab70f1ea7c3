"""Score against the size of the adapter, a line for each variant: what a smaller adapter costs, however it was made."""

from typing import Any

import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from analysis.chosen import preferred
from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled
from analysis.frame import Frame
from analysis.metric import number
from analysis.tables.cells import estimate_of, measured
from analysis.tables.tuning import of_method

_COLUMNS = ["block", "variant", "method", "parameters", "mean", "low", "high", "n"]


@styled
def size_curves(frame: Frame) -> Picture | None:
    """One panel per block; a point is the mean over seeds, bars are its lowest and highest. None without adapters."""
    data = size_data(frame)
    if data.empty:
        return None
    variants, blocks = tuple(dict.fromkeys(data["variant"])), tuple(dict.fromkeys(data["block"]))
    figure, axes = panels(len(blocks))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, blocks, strict=True):
        for variant, points in data[data["block"] == block].groupby("variant", sort=False):
            handles[str(variant)] = _line(axis, points, colour(variants, str(variant)), marker(variants, str(variant)))
        axis.set_title(short(block, 40))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(LogLocator(base=2, numticks=7))
        axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("adapter parameters at the end")
        axis.set_ylabel(f"test {frame.shown(block).axis}")
        if frame.better(block) == "min":
            axis.invert_yaxis()
    legend_below(figure, [handles[v] for v in variants], list(variants))
    return Picture("size", "Score against adapter size", _alt(frame, data), figure, data)


def size_data(frame: Frame) -> pd.DataFrame:
    """block, variant, method, parameters, mean, low, high, n: cells that have an adapter and a score, by size.

    A direct run that is there for others to start from is no point. Of several rates for as many steps, validation's
    choice is one.
    """
    rows = []
    for block in frame.blocks:
        for method in _shown(frame, block):
            runs = frame.cell(block, method)
            sizes, estimate = measured(runs, "adapter_params"), estimate_of(runs, "shown")
            if estimate.n and len(sizes) and sizes.min() > 0 and not runs["only_source"].any():
                low, high = (estimate.low, estimate.high) if estimate.known else (float("nan"), float("nan"))
                variant = str(runs.iloc[0]["variant"])
                rows.append((block, variant, method, float(sizes.mean()), estimate.mean, low, high, estimate.n))
    data = pd.DataFrame(rows, columns=_COLUMNS)
    order = {name: i for i, name in enumerate(frame.blocks)}
    return data.sort_values(["block", "variant", "parameters"], key=lambda c: c.map(order) if c.name == "block" else c)


def _shown(frame: Frame, block: str) -> list[str]:
    """The labels of a block, with one setting of the recipe for each setting of a method and number of steps."""
    rows = frame.rows[frame.rows["block"] == block]
    kept = rows.assign(kept=rows["setting"].map(of_method))
    cells = kept.groupby(["method_name", "kept", "own_steps"], sort=False, dropna=False)
    chosen = {preferred(tried, frame.better(block)) for _, tried in cells}
    return [method for method in frame.methods_of(block) if method in chosen]


def _line(axis: Any, points: pd.DataFrame, tint: str, sign: str) -> Any:
    """The line, and a bar where there is a range."""
    (line,) = axis.plot(points["parameters"], points["mean"], color=tint, marker=sign, markersize=4)
    known = points.dropna(subset=["low"])
    below, above = known["mean"] - known["low"], known["high"] - known["mean"]
    axis.errorbar(known["parameters"], known["mean"], [below, above], fmt="none", color=tint, capsize=2, linewidth=1)
    return line


def _alt(frame: Frame, data: pd.DataFrame) -> str:
    sentences = [
        f"{block}, {variant}: "
        + ", ".join(f"{number(p.mean, 2)} with {p.parameters:,.0f}" for p in points.itertuples(index=False))
        for (block, variant), points in data.groupby(["block", "variant"], sort=False)
    ]
    return (
        f"Line plot of the score against adapter parameters, with bars over the range of seeds. {'; '.join(sentences)}."
    )
