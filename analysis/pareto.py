"""Pareto fronts. All objectives are higher-better here; the caller turns costs round. Refuses NaN: a method without a score is on no front."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def front(points: ArrayLike) -> NDArray[np.bool_]:
    """Which of `points` (..., n_methods, n_objectives), higher better, no other point dominates: at least as good in all, better in one.

    Leading axes are batches (resamples). Equal points do not dominate each other. Returns (..., n_methods).
    """
    x = np.asarray(points, float)
    if np.isnan(x).any():
        raise ValueError("front: a point has NaN; leave methods without a score or a cost out")
    at_least = np.ones((*x.shape[:-1], x.shape[-2]), bool)
    better = np.zeros_like(at_least)
    for k in range(x.shape[-1]):  # an objective at a time keeps memory at n², not n²·k
        mine, theirs = x[..., :, None, k], x[..., None, :, k]
        at_least &= theirs >= mine
        better |= theirs > mine
    return ~(at_least & better).any(axis=-1)
