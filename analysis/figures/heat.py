"""A heat map of method × block: the difference to the control in each cell, holes hatched with their
reason in a word.
"""

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.style import INK, PAPER, Picture, short, styled
from analysis.frame import Frame
from analysis.metric import number
from analysis.tables.cells import estimate_of


@styled
def heat_map(frame: Frame) -> Picture:
    """Colour: how far a cell is from its block's control, in units of the block's spread over methods; text: the mean
    score.
    """
    data = heat_table(frame)
    wide = data.pivot(index="method", columns="block", values="scaled").reindex(
        index=list(frame.methods), columns=list(frame.blocks)
    )
    figure = Figure(figsize=(2.4 + 1.25 * len(frame.blocks), 1.5 + 0.36 * len(frame.methods)), layout="constrained")
    axis = figure.subplots()
    limit = max(1.0, float(np.nanmax(np.abs(wide.to_numpy()))) if wide.notna().any(axis=None) else 1.0)
    image = axis.imshow(
        np.ma.masked_invalid(wide.to_numpy(float)), cmap="PuOr", norm=TwoSlopeNorm(0, -limit, limit), aspect="auto"
    )
    for row in data.itertuples():
        _cell(axis, frame, row, limit)
    axis.set_xticks(
        range(len(frame.blocks)),
        [short(b, 40).replace(" / ", "\n") for b in frame.blocks],
        **({} if len(frame.blocks) < 7 else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}),
    )
    axis.set_yticks(range(len(frame.methods)), [short(m) for m in frame.methods])
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(
        image, ax=axis, shrink=0.8, label=f"better than {frame.control or 'the mean'} → (SDs of the block)"
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
    return Picture("heat-map", "Every cell at a glance", _alt(frame, data), figure, data)


def heat_table(frame: Frame) -> pd.DataFrame:
    """block, method, mean, scaled, n, planned, hole ("" or failed, missing, skipped, not planned)."""
    rows = []
    for block in frame.blocks:
        values = frame.values(block, "shown")
        means = values.mean()
        base = means.get(frame.control, np.nan) if frame.control else means.mean()
        spread = float(means.std(ddof=1)) if means.notna().sum() > 1 else np.nan
        sign = 1 if frame.better(block) == "max" else -1
        for method in frame.methods:
            mine = frame.cell(block, method)
            estimate = estimate_of(mine, "shown")
            scaled = sign * (estimate.mean - base) / spread if spread and spread > 0 else 0.0 * estimate.mean
            rows.append(
                (
                    block,
                    method,
                    estimate.mean,
                    scaled,
                    estimate.n,
                    int((mine["status"] != "skipped").sum()),
                    _hole(mine),
                )
            )
    return pd.DataFrame(rows, columns=["block", "method", "mean", "scaled", "n", "planned", "hole"])


def _hole(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "not planned"
    if (runs["status"] == "done").any():
        return ""
    return next(s for s in ("failed", "damaged", "missing", "skipped") if s in set(runs["status"]))


def _cell(axis, frame: Frame, row, limit: float) -> None:  # noqa: ANN001
    x, y = frame.blocks.index(row.block), frame.methods.index(row.method)
    if row.hole or row.n == 0:
        axis.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="none", edgecolor="#8c959f", hatch="////", linewidth=0)
        )
        axis.text(
            x,
            y,
            row.hole or "no score",
            ha="center",
            va="center",
            fontsize=7.5,
            fontstyle="italic",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2},
            color=INK,
        )
        return
    dark = abs(row.scaled) > 0.6 * limit
    short = f"{row.n}/{row.planned}" if row.n < row.planned else ""
    axis.text(
        x,
        y,
        f"{number(row.mean, min(frame.shown(row.block).digits, 2))}{f' ({short})' if short else ''}",
        ha="center",
        va="center",
        fontsize=8,
        color="white" if dark else "black",
    )


def _alt(frame: Frame, data: pd.DataFrame) -> str:
    holes = data[data["hole"] != ""]
    absent = "; ".join(f"{r.method} in {r.block} {r.hole}" for r in holes.itertuples()) or "none"
    return (
        f"Heat map of {len(frame.methods)} methods by {len(frame.blocks)} blocks, coloured by the "
        f"difference to {frame.control}. Holes: {absent}."
    )
