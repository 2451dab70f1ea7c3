"""Pareto fronts. All objectives are higher-better here; the caller turns costs round.

Refuses NaN: a method without a score is on no front.
"""

from itertools import combinations_with_replacement
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats import exact


def front(points: ArrayLike) -> NDArray[np.bool_]:
    """Which of `points` (..., n_methods, n_objectives), higher better, no other point dominates: at least as good in
    all, better in one.

    Leading axes are batches (resamples). Equal points do not dominate each other. Returns (..., n_methods).
    """
    return _fronts(points)[0]


def _fronts(points: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(on the front, on it if every tie of the first objective were won); an objective at a time keeps memory at n²."""
    x = np.asarray(points, float)
    if np.isnan(x).any():
        raise ValueError("front: a point has NaN; leave methods without a score or a cost out")
    first, *others = _batches_last(x)
    level = np.ones((len(first), *first.shape), bool)
    better = np.zeros_like(level)
    for values in others:
        level &= values >= values[:, None]
        better |= values > values[:, None]
    beaten = level & (first > first[:, None])
    dominated = beaten | (level & better & (first >= first[:, None]))
    return np.moveaxis(~dominated.any(axis=1), 0, -1), np.moveaxis(~beaten.any(axis=1), 0, -1)


def _batches_last(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., methods, objectives) as (objectives, methods, ...): pairs of long rows compare several times as fast."""
    return np.ascontiguousarray(np.moveaxis(points, (-1, -2), (0, 1)))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Volume dominated by `points` (..., n, d), higher better, above `reference` (d,). Exact: over each cell of a grid
    of all coordinates but the last one stands a column as high as the highest point that covers it.

    Cost n^(d - 1) cells a set: meant for d <= 4 and tens of methods.
    """
    x = np.maximum(np.asarray(points, float), reference)
    heights = x[..., -1] - np.asarray(reference, float)[-1]
    x, reference = x[..., :-1], np.asarray(reference, float)[:-1]
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
    highest = np.where(covered, heights.reshape(*heights.shape, *[1] * d), 0.0).max(axis=batch)
    return (volume * highest).sum(axis=tuple(range(batch, batch + d)))


def resamples(seeds: int, rng: np.random.Generator, reps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts of each seed (n, seeds) in the bootstrap's samples, and their probabilities (n,): every sample there is
    for seven seeds and fewer (10 of three, 126 of five), else `reps` draws.
    """
    if comb(2 * seeds - 1, seeds) > 2_000:
        return rng.multinomial(seeds, np.full(seeds, 1 / seeds), reps).astype(float), np.full(reps, 1 / reps)
    chosen = combinations_with_replacement(range(seeds), seeds)
    counts = np.array([np.bincount(sample, minlength=seeds) for sample in chosen], float)
    return counts, np.array([stats.multinomial.pmf(c, seeds, np.full(seeds, 1 / seeds)) for c in counts])


def inclusion(values: ArrayLike, counts: NDArray[np.float64], chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """How probable each method is on the front when seeds are resampled jointly; values (n_seeds, n_methods, d) with
    the score first, samples as from `resamples`. -> (n_methods,).

    Equal sums of scores are a matter of few seeds, not of the methods: a tie counts half as won, half as lost.
    """
    on_front, favoured = _fronts(np.tensordot(counts, lattices(values), axes=1))
    return chances @ (0.5 * on_front + 0.5 * favoured)


def lattices(values: ArrayLike) -> NDArray[np.float64]:
    """Each objective (last axis) in whole numbers where it is a share of a count, so that equal sums are equal."""
    x = np.asarray(values, float)
    return np.stack([exact.lattice(x[..., k]) for k in range(x.shape[-1])], axis=-1)
