"""What a rank keeps of an adapter: Σ s² of the first singular values over Σ s² of all, for each kind of module."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import Picture, colour, legend_below, styled


@styled
def spectrum(modules: pd.DataFrame) -> Picture:
    """A line a kind of module: the median over layers, the range of all layers behind it; dotted: the median rank kept.

    `modules`: columns module, rank, spectrum (singular values, descending), one row a module.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    kinds = modules["module"].str.rpartition(".")[2]
    names = tuple(kinds.unique())
    for kind in names:
        kept = _kept(modules["spectrum"][kinds == kind])
        ranks, hue = np.arange(1, kept.shape[1] + 1), colour(names, kind)
        axis.plot(ranks, np.median(kept, axis=0), label=kind, color=hue)
        axis.fill_between(ranks, kept.min(axis=0), kept.max(axis=0), color=hue, alpha=0.15, linewidth=0)
    chosen = float(modules["rank"].median())
    axis.axvline(chosen, color="0.4", linestyle=":")
    axis.set(xlabel="rank", ylabel="variance kept (%)", ylim=(0, 103))
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend_below(figure, *axis.get_legend_handles_labels())
    alt = f"Share of the variance that a rank keeps, for {', '.join(names)}; the median rank kept is {chosen:g}."
    return Picture("spectrum", "Variance kept by rank: median and range over layers", alt, figure, modules)


def draw_spectrum(table: Path, picture: Path) -> None:
    """From the table that `peftlab squeeze` writes to a picture beside it."""
    modules = pd.read_csv(table)
    modules["spectrum"] = [np.array([float(v) for v in text.split()]) for text in modules["spectrum"]]
    picture.write_bytes(spectrum(modules).png())


def _kept(spectra: pd.Series) -> np.ndarray:
    """Percent kept by rank (modules, largest rank); shorter spectra stay at 100."""
    longest = max(len(values) for values in spectra)
    energy = np.array([np.pad(np.square(values), (0, longest - len(values))) for values in spectra])
    total = energy.sum(axis=1, keepdims=True)
    return 100 * np.divide(energy.cumsum(axis=1), total, out=np.ones_like(energy), where=total > 0)
