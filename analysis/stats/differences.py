"""Differences of two methods over blocks: how large on average, and how much of that is one block's doing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Spread:
    """Of n paired differences: mean, median, standard error of the mean between blocks (NaN for one block), and the
    mean without the block of the largest absolute difference, which is named. `wins` are above zero, `losses` below.
    """

    n: int
    mean: float
    median: float
    error: float
    without_largest: float
    largest: str
    wins: int
    losses: int


def spread(differences: ArrayLike, blocks: Sequence[str]) -> Spread:
    """The spread of (n_blocks,) differences, without NaN; `blocks` are their names. Raises ValueError without any."""
    d = np.asarray(differences, float)
    if d.shape != (len(blocks),) or not len(d) or np.isnan(d).any():
        raise ValueError("spread: one finite difference for each block, and one block or more")
    largest = int(np.abs(d).argmax())
    others = np.delete(d, largest)
    return Spread(
        n=len(d),
        mean=float(d.mean()),
        median=float(np.median(d)),
        error=float(d.std(ddof=1) / np.sqrt(len(d))) if len(d) > 1 else np.nan,
        without_largest=float(others.mean()) if len(others) else np.nan,
        largest=blocks[largest],
        wins=int((d > 0).sum()),
        losses=int((d < 0).sum()),
    )
