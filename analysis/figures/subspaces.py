"""φ(i, j) of each pair of methods as a map, with the line at which a pair has no more than chance gives."""

import numpy as np
import pandas as pd

from analysis.figures.style import Picture, panels, short, styled
from analysis.frame import Frame
from analysis.subspaces import grids, pairs

MOST = 9  # panels


@styled
def subspace_maps(frame: Frame, block: str | None = None, side: str = "right") -> Picture | None:
    """A panel for each pair of methods (and each method over its seeds), mean over runs; the first nine of them.

    Colour: φ(i, j). Cells that are within twice the chance level are crossed. block: the first one that was diagnosed.
    None without side records of it.
    """
    known = list(pairs(frame))
    block = block or (known[0][0] if known else None)
    drawn = [(first, second, *grids(frame, of, first, second, side)) for of, first, second in known if of == block]
    drawn = [entry for entry in drawn if entry[2]][:MOST]
    if not drawn:
        return None
    figure, axes = panels(len(drawn), width=2.9, height=2.7)
    rows = []
    for axis, (first, second, phi, level) in zip(axes, drawn, strict=True):
        mean = np.mean(phi, axis=0)
        m, n = mean.shape
        image = axis.imshow(mean, vmin=0, vmax=1, cmap="cividis", origin="lower", extent=(0.5, n + 0.5, 0.5, m + 0.5))
        for i, j in zip(*np.nonzero(mean <= 2 * level), strict=True):
            axis.plot(j + 1, i + 1, marker="x", color="white", markersize=4)
        axis.set_title(f"{short(first, 18)}, seeds" if first == second else f"{short(first, 14)} – {short(second, 14)}")
        axis.set(xlabel="j", ylabel="i")
        axis.grid(visible=False)
        axis.locator_params(integer=True)
        rows += [(block, first, second, i + 1, j + 1, mean[i, j], level[i, j]) for i, j in np.ndindex(m, n)]
    figure.colorbar(image, ax=axes, shrink=0.8, label="φ(i, j); ×: no more than twice chance")
    data = pd.DataFrame(rows, columns=["block", "method", "other", "i", "j", "phi", "chance"])
    said = "; ".join(f"{a} and {b} {np.mean(phi, axis=0)[0, 0]:.2f}" for a, b, phi, _ in drawn)
    alt = f"Maps of subspace similarity in {block}. Of the first directions: {said}."
    return Picture("subspaces", f"Subspace similarity, {side} directions ({block})", alt, figure, data)
