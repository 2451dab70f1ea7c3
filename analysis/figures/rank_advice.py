"""What a rank holds of a spectrum, for each source of a recommendation and each kind of weight."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.style import Picture, colour, legend_below, panels, styled


@styled
def retention_curves(sites: Sequence[dict[str, Any]], energy: float) -> Picture:
    """The share of Σ s² that a rank holds: a panel for each matrix (pretrained weight, first gradient, adapter).

    A line is a kind of weight: the median over layers, the range behind it. Dotted: the share that was asked for.
    """
    names = list(dict.fromkeys(name for site in sites for name in site["spectra"]))
    kinds = tuple(dict.fromkeys(str(site["target"]) for site in sites))
    figure, axes = panels(len(names), width=3.6, height=2.8)
    rows, handles = [], {}
    for axis, name in zip(axes, names, strict=True):
        for kind in kinds:
            own = [site["spectra"] for site in sites if site["target"] == kind and name in site["spectra"]]
            if not own:
                continue
            held = _held([spectra[name] for spectra in own])
            ranks, tint = np.arange(1, held.shape[1] + 1), colour(kinds, kind)
            (handles[kind],) = axis.plot(ranks, np.median(held, axis=0), color=tint)
            axis.fill_between(ranks, held.min(axis=0), held.max(axis=0), color=tint, alpha=0.15, linewidth=0)
            rows += [(name, kind, rank, float(share)) for rank, share in enumerate(np.median(held, axis=0), 1)]
        axis.axhline(100 * energy, color="0.4", linestyle=":")
        axis.set(title=name, xlabel="rank", ylabel="share of Σ s² held (%)", ylim=(0, 103))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend_below(figure, list(handles.values()), list(handles))
    data = pd.DataFrame(rows, columns=["matrix", "kind", "rank", "share"])
    alt = f"Share of the variance that a rank holds of {', '.join(names)}, for {', '.join(kinds)}."
    return Picture("rank-advice", "Variance held by rank: median and range over layers", alt, figure, data)


def draw_advice(sites: Sequence[dict[str, Any]], energy: float, picture: Path) -> None:
    """Writes the picture as a PNG."""
    picture.write_bytes(retention_curves(sites, energy).png())


def _held(spectra: Sequence[Sequence[float]]) -> np.ndarray:
    """Percent held by rank (weights, largest rank); shorter spectra stay at 100."""
    longest = max(map(len, spectra))
    energy = np.array([np.pad(np.square(values), (0, longest - len(values))) for values in spectra])
    total = energy.sum(axis=1, keepdims=True)
    return 100 * np.divide(energy.cumsum(axis=1), total, out=np.ones_like(energy), where=total > 0)
