"""Differences of two methods over blocks: how large on average, and how much of that is one block's doing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Spread:
    """Of n paired differences: mean, median, standard error of the mean between blocks (NaN for one block), and the
    mean without the block of the largest absolute difference, which is named. `wins` are above zero, `losses` below.
    weighted, weighted_error: the same of the mean in which blocks weigh by their precision; None where it is not given.
    """

    n: int
    mean: float
    median: float
    error: float
    without_largest: float
    largest: str
    wins: int
    losses: int
    weighted: float | None = None
    weighted_error: float | None = None


def spread(differences: ArrayLike, blocks: Sequence[str], weights: ArrayLike | None = None) -> Spread:
    """The spread of (n_blocks,) differences, without NaN; `blocks` are their names. Raises ValueError without any.

    weights (n_blocks,): of the weighted mean, up to a common factor; its error is from the differences themselves, so
    that it does not matter whether a table's ± is an SD, a standard error or half of an interval.
    """
    d = np.asarray(differences, float)
    if d.shape != (len(blocks),) or not len(d) or np.isnan(d).any():
        raise ValueError("spread: one finite difference for each block, and one block or more")
    largest = int(np.abs(d).argmax())
    others = np.delete(d, largest)
    weighted, error = (None, None) if weights is None else _weighted(d, np.asarray(weights, float))
    return Spread(
        n=len(d),
        mean=float(d.mean()),
        median=float(np.median(d)),
        error=float(d.std(ddof=1) / np.sqrt(len(d))) if len(d) > 1 else np.nan,
        without_largest=float(others.mean()) if len(others) else np.nan,
        largest=blocks[largest],
        wins=int((d > 0).sum()),
        losses=int((d < 0).sum()),
        weighted=weighted,
        weighted_error=error,
    )


def _weighted(d: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Weighted mean, and its standard error as of a ratio (Cochran 1977, 6.4); equal weights give SD / √n."""
    share, n = weights / weights.sum(), len(d)
    mean = float(share @ d)
    return mean, float(np.sqrt(n / (n - 1) * np.sum((share * (d - mean)) ** 2))) if n > 1 else np.nan
