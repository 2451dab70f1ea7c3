"""Pareto fronts. All objectives are higher-better here; the caller turns costs round.

Refuses NaN: a method without a score is on no front.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def front(points: ArrayLike) -> NDArray[np.bool_]:
    """Which of `points` (..., n_methods, n_objectives), higher better, no other point dominates: at least as good in
    all, better in one.

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


def hypervolume(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Volume dominated by `points` (..., n, d), higher better, above `reference` (d,). Exact, by the grid of
    coordinates.

    Cost n^d cells a set: meant for d <= 4 and tens of methods.
    """
    x = np.maximum(np.asarray(points, float), reference)
    n, d = x.shape[-2:]
    edges = np.concatenate([np.broadcast_to(reference, (*x.shape[:-2], 1, d)), np.sort(x, axis=-2)], axis=-2)
    covered = np.ones((*x.shape[:-2], n, *[1] * d), bool)
    volume: NDArray[np.float64] = np.ones((*x.shape[:-2], *[1] * d))
    for k in range(d):
        shape = [*x.shape[:-2], *[n if axis == k else 1 for axis in range(d)]]
        reach = x[..., :, None, k] >= edges[..., None, 1:, k]  # (..., points, cells along k)
        covered = covered & reach.reshape(*x.shape[:-2], n, *shape[-d:])
        volume = volume * np.diff(edges[..., k], axis=-1).reshape(shape)
    batch = x.ndim - 2
    return (volume * covered.any(axis=batch)).sum(axis=tuple(range(batch, batch + d)))


def resampled_means(values: ArrayLike, rng: np.random.Generator, reps: int) -> NDArray[np.float64]:
    """Bootstrap means over seeds, all methods and objectives together; (n_seeds, n_methods, d) -> (reps, n_methods,
    d).
    """
    x = np.asarray(values, float)
    counts = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), reps)
    return np.einsum("rs,smd->rmd", counts, x) / len(x)


def inclusion(values: ArrayLike, rng: np.random.Generator, *, reps: int = 2_000) -> NDArray[np.float64]:
    """How often each method is on the front when seeds are resampled jointly; (n_seeds, n_methods, d) ->
    (n_methods,).
    """
    return front(resampled_means(values, rng, reps)).mean(axis=0)
