"""Where learned rank went: a heat map of layer × module for each strategy, and attention against the MLP."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import Picture, panels, short, styled
from analysis.frame import Frame
from analysis.learned_ranks import ATTENTION, COUNTED, MLP, learned_ranks
from analysis.tables.ranks import sides


@styled
def rank_map(frame: Frame) -> Picture | None:
    """A panel for each strategy and block: the mean learned rank over seeds of each layer (up) and module (across).

    None where no run learned its ranks.
    """
    data = rank_data(frame)
    if data.empty:
        return None
    groups = list(data.groupby(["block", "label"], sort=False))
    figure, axes = panels(len(groups), width=3.4, height=2.7)
    for axis, ((block, label), cells) in zip(axes, groups, strict=True):
        counted = cells["measure"].iloc[0] == COUNTED
        _map(axis, cells.pivot(index="layer", columns="target", values="rank"))
        name = short(str(label)) + ("" if counted else ", stable rank")
        axis.set_title(name if len(frame.blocks) == 1 else f"{name}\n{short(str(block))}", fontsize=9)
    return Picture("rank-map", "Learned rank by layer and module, mean over seeds", _alt(data), figure, data)


def rank_data(frame: Frame) -> pd.DataFrame:
    """block, label, measure, layer, target, rank (mean over seeds), n (seeds)."""
    keys = ["block", "label", "measure", "layer", "target"]
    grouped = learned_ranks(frame).groupby(keys, sort=False)["rank"]
    return grouped.agg(rank="mean", n="size").reset_index()


def _map(axis: Axes, wide: pd.DataFrame) -> None:
    """The numbers stand in the cells as long as they can be read; else a bar says what a colour is."""
    wide = wide.reindex(columns=[target for target in (*ATTENTION, *MLP) if target in wide.columns])
    values = np.ma.masked_invalid(wide.to_numpy(float))
    top = float(values.max()) or 1.0
    image = axis.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto", origin="lower")
    axis.set_xticks(range(wide.shape[1]), list(wide.columns))
    step = max(1, len(wide) // 12)
    axis.set_yticks(range(0, len(wide), step), [str(layer) for layer in wide.index[::step]])
    axis.set(xlabel="module", ylabel="layer")
    axis.grid(visible=False)
    if len(wide) > 12:
        axis.figure.colorbar(image, ax=axis)
        return
    for (layer, module), value in np.ndenumerate(values.filled(np.nan)):
        if not np.isnan(value):
            ink = "white" if value > 0.6 * top else "black"
            axis.text(module, layer, f"{value:.1f}", ha="center", va="center", fontsize=7, color=ink)


@styled
def side_bars(frame: Frame) -> Picture | None:
    """Mean learned rank of attention less that of the MLP, with the 95 % t interval over seeds; None without any."""
    data = sides(frame)
    if data.empty:
        return None
    figure, (axis,) = panels(1, width=5.4, height=1.0 + 0.34 * len(data))
    places = np.arange(len(data))[::-1]
    known = data["low"].notna().to_numpy()
    width = np.abs(data[["low", "high"]].to_numpy(float).T - data["difference"].to_numpy(float))
    axis.errorbar(data["difference"][known], places[known], xerr=width[:, known], fmt="none", color="0.35", capsize=3)
    axis.plot(data["difference"], places, "o", color="#0072B2", markersize=5)
    axis.axvline(0, color="0.6", linewidth=0.8)
    names = [short(label if len(frame.blocks) == 1 else f"{label}, {block}", 40)
             for block, label in zip(data["block"], data["label"], strict=True)]  # fmt: skip
    axis.set_yticks(places, names)
    axis.set_ylim(-0.7, len(data) - 0.3)
    axis.set_xlabel("mean rank of a weight, attention less MLP")
    differences = "; ".join(f"{row.label} {row.difference:+.2f}" for row in data.itertuples())
    alt = f"Mean learned rank of attention less that of the MLP: {differences}."
    return Picture("rank-sides", "Attention against MLP: 95 % t interval over seeds", alt, figure, data)


def _alt(data: pd.DataFrame) -> str:
    texts = []
    for (block, label), cells in data.groupby(["block", "label"], sort=False):
        most = cells.loc[cells["rank"].idxmax()]
        texts.append(f"{label} in {block}: most in {most['target']} of layer {most['layer']}, {most['rank']:.1f}")
    return f"Heat maps of learned rank by layer and module. {'; '.join(texts)}."
