"""The training loss around the weights of runs: curves over methods, contours and surfaces of a random plane, paths."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.diagnoses import side_records
from analysis.figures.style import INK, Picture, colour, legend_below, panels, short, styled
from analysis.frame import Frame

_COLUMNS = ["block", "method", "seed", "radius", "angle", "x", "y", "rise"]
_MAP = "cividis"  # reads alike for all kinds of colour vision


def landscape_data(frame: Frame) -> pd.DataFrame:
    """block, method, seed, radius, angle (a number from 0), x, y, rise over the centre: a row for each point of a ring.

    The centre is there at each angle, at radius 0, so that a (radius, angle) grid is whole.
    """
    rows = []
    for run, side in side_records(frame, "landscape"):
        radii, losses = (0.0, *side.answer["radii"]), np.asarray(side.answer["losses"], float)
        rises = np.vstack([np.zeros(losses.shape[1]), losses - side.answer["loss"]])
        for (ring, angle), rise in np.ndenumerate(rises):
            turn = 2 * np.pi * angle / losses.shape[1]
            place = radii[ring], angle, radii[ring] * np.cos(turn), radii[ring] * np.sin(turn)
            rows.append((run["block"], run["label"], run["seed"], *place, rise))
    return pd.DataFrame(rows, columns=_COLUMNS)


@styled
def landscape_curves(frame: Frame) -> Picture | None:
    """One panel per block, a line per method: the rise along the first direction, mean over seeds, the band from the
    lowest to the highest seed. None where no run was diagnosed.
    """
    data = _line(landscape_data(frame))
    if data.empty:
        return None
    blocks = [block for block in frame.blocks if block in set(data["block"])]
    figure, axes = panels(len(blocks))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, blocks, strict=True):
        for label, points in data[data["block"] == block].groupby("method", sort=False):
            hue = colour(frame.methods, str(label))
            over = points.groupby("x")["rise"].agg(["mean", "min", "max"])
            (handles[str(label)],) = axis.plot(over.index, over["mean"], color=hue)
            axis.fill_between(over.index, over["min"], over["max"], color=hue, alpha=0.15, lw=0)
        axis.set(title=short(block, 40), xlabel="distance, in norms of each row", ylabel="rise of the training loss")
    legend_below(figure, list(handles.values()), list(handles))
    ends = data[data["x"] == data["x"].max()].groupby(["block", "method"], sort=False)["rise"].mean()
    said = "; ".join(f"{method} in {block} {value:.2f}" for (block, method), value in ends.items())
    alt = f"Line plot of the rise of the training loss along a random direction. At its end: {said}."
    return Picture("landscape-curves", "The training loss along a random direction", alt, figure, data)


@styled
def landscape_contours(frame: Frame, block: str | None = None) -> Picture | None:
    """Contours of the rise on the random plane, one panel per method, one scale of colours: mean over seeds.

    block: the first one that was diagnosed. None without side records of it.
    """

    def draw(axis: Any, x: np.ndarray, y: np.ndarray, rise: np.ndarray, levels: np.ndarray) -> Any:
        axis.set_aspect("equal")
        axis.set(xlabel="direction 1", ylabel="direction 2")
        axis.grid(visible=False)
        axis.plot(0, 0, marker="+", color=INK)
        return axis.contourf(x, y, rise, levels=levels, cmap=_MAP)

    title = "The training loss on a random plane: contours"
    return _planes(frame, block, "landscape-contours", title, draw, {})


@styled
def landscape_surfaces(frame: Frame, block: str | None = None) -> Picture | None:
    """The same as surfaces in three dimensions. None without side records of the block."""

    def draw(axis: Any, x: np.ndarray, y: np.ndarray, rise: np.ndarray, levels: np.ndarray) -> Any:
        axis.set_zlim(levels[0], levels[-1])
        axis.set_box_aspect(None, zoom=0.8)
        axis.tick_params(labelsize=6.5, pad=0)
        axis.locator_params(nbins=4)
        return axis.plot_surface(x, y, rise, cmap=_MAP, vmin=levels[0], vmax=levels[-1], rcount=20, ccount=20)

    title = "The training loss on a random plane: surfaces"
    return _planes(frame, block, "landscape-surfaces", title, draw, {"projection": "3d"})


@styled
def landscape_paths(frame: Frame, block: str | None = None) -> Picture | None:
    """The loss around the path start, selected, last of each method's first seed: a line of two, contours of three.

    block: the first one that was diagnosed. None where no weight of it moved.
    """
    pairs = [(run, side.answer["path"]) for run, side in side_records(frame, "landscape") if side.answer["path"]]
    block = block or (pairs[0][0]["block"] if pairs else None)
    firsts: dict[str, Any] = {}
    for run, path in pairs:
        if run["block"] == block:
            firsts.setdefault(run["label"], path)
    if not firsts:
        return None
    figure, axes = panels(len(firsts))
    for axis, (label, path) in zip(axes, firsts.items(), strict=True):
        (_line_of if len(path["steps"]) == 1 else _plane_of)(axis, path, colour(frame.methods, label))
        axis.set_title(short(label))
    rows = [
        (block, label, name, *point, *[np.nan] * (2 - len(point)))
        for label, path in firsts.items()
        for name, point in zip(path["names"], path["points"], strict=True)
    ]
    data = pd.DataFrame(rows, columns=["block", "method", "point", "x", "y"])
    alt = f"The training loss around the training paths of {', '.join(firsts)} in {block}."
    return Picture("landscape-paths", f"The training loss around the path: {block}", alt, figure, data)


def _line(data: pd.DataFrame) -> pd.DataFrame:
    """Of the first direction alone: the first angle and the opposite one."""
    opposite = (data["angle"].max() + 1) / 2
    line = data[(data["angle"] == 0) | ((data["angle"] == opposite) & (data["radius"] > 0))]
    return line[["block", "method", "seed", "x", "rise"]]


def _planes(
    frame: Frame, block: str | None, name: str, title: str, draw: Callable[..., Any], kind: dict[str, Any]
) -> Picture | None:
    data = landscape_data(frame)
    block = block or (data["block"].iloc[0] if len(data) else None)
    data = data[data["block"] == block]
    if data.empty:
        return None
    means = data.groupby(["method", "radius", "angle"], sort=False)[["x", "y", "rise"]].mean().reset_index()
    levels = np.linspace(min(0.0, means["rise"].min()), means["rise"].max() or 1.0, 13)
    labels = list(dict.fromkeys(means["method"]))
    figure, axes = _panels_of(len(labels), kind)
    for axis, label in zip(axes, labels, strict=True):
        grids = [_closed(means[means["method"] == label], column) for column in ("x", "y", "rise")]
        mapped = draw(axis, *grids, levels)
        axis.set_title(short(label))
    figure.colorbar(mapped, ax=axes, shrink=0.8, label="rise of the training loss")
    alt = f"{title}, in {block}; panels: {', '.join(labels)}. Largest rise {means['rise'].max():.2f}."
    return Picture(name, f"{title} ({block})", alt, figure, data)


def _closed(points: pd.DataFrame, column: str) -> np.ndarray:
    """(radii, angles + 1): the first angle once more, so that the disk is closed."""
    grid = points.pivot(index="radius", columns="angle", values=column).to_numpy()
    return np.hstack([grid, grid[:, :1]])


def _panels_of(count: int, kind: dict[str, Any]) -> tuple[Figure, list]:
    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(2.9 * columns + 0.9, 3.8), 2.7 * rows + 0.3), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, place + 1, **kind) for place in range(count)]


def _line_of(axis: Any, path: Any, hue: str) -> None:
    steps, places = np.asarray(path["steps"][0]), [point[0] for point in path["points"]]
    axis.plot(steps, path["losses"], color=hue)
    for name, place in zip(path["names"], places, strict=True):
        axis.plot(place, np.interp(place, steps, path["losses"]), marker="o", color=INK)
        axis.annotate(name, (place, np.interp(place, steps, path["losses"])), (0, 6), textcoords="offset points")
    axis.set(xlabel="distance along the line", ylabel="training loss")


def _plane_of(axis: Any, path: Any, hue: str) -> None:
    x, y = (np.asarray(steps) for steps in path["steps"])
    axis.contourf(x, y, np.reshape(path["losses"], (len(x), len(y))).T, levels=12, cmap=_MAP)
    named = dict(zip(path["names"], path["points"], strict=True))
    order = [name for name in ("start", "selected", "last") if name in named]
    axis.plot(*np.array([named[name] for name in order]).T, marker="o", color=hue)
    for name in order:
        axis.annotate(name, named[name], (4, 4), textcoords="offset points", color="white")
    shares = [f"direction {n} ({100 * share:.0f} %)" for n, share in enumerate(path["explained"], 1)]
    axis.set(xlabel=shares[0], ylabel=shares[1])
