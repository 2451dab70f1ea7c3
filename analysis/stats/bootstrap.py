"""Bootstrap intervals with the generator passed in: equal generators give equal intervals.

Over a handful of seeds alone a bootstrap is too narrow (measuring.md, 7): `analysis.stats.intervals` is for that.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.intervals import Estimate

Floats = NDArray[np.float64]
_CHUNK = 4_000_000  # numbers in flight, so that memory stays below 100 MB


def paired_bca(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, reps: int = 10_000, level: float = 0.95
) -> Estimate:
    """BCa interval of mean(a - b) for per-example scores (n_seeds, n_examples) on one test set, paired in both.

    Seeds and examples are resampled, crossed: every seed sees the same drawn examples, as it did in the study. One seed
    leaves the examples alone to be drawn. Efron 1987, with the multi-sample acceleration of Efron and Tibshirani 1993.
    """
    d = np.atleast_2d(np.asarray(a, float) - np.asarray(b, float))
    centre = float(d.mean())
    drawn = np.concatenate(list(_two_way_means(d, rng, reps)))
    influence = _deviations(d.mean(axis=0)), _deviations(d.mean(axis=1)) if len(d) > 1 else np.zeros(1)
    low, high = bca_limits(drawn, centre, influence, level)
    return Estimate(centre, low, high, int(d.shape[0]))


def bca_limits(drawn: Floats, centre: float, influence: tuple[Floats, ...], level: float) -> tuple[float, float]:
    """Limits from bootstrap means and the jackknife influence of each resampled factor.

    No spread gives (centre, centre).
    """
    if np.ptp(drawn) == 0:
        return centre, centre
    below = (np.sum(drawn < centre) + 0.5 * np.sum(drawn == centre)) / drawn.size
    bias = float(stats.norm.ppf(np.clip(below, 1 / (drawn.size + 1), 1 - 1 / (drawn.size + 1))))
    squares = sum(float((part**2).sum()) for part in influence)
    skew = sum(float((part**3).sum()) for part in influence) / (6 * squares**1.5) if squares > 0 else 0.0
    z = stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    shares = stats.norm.cdf(bias + (bias + z) / (1 - skew * (bias + z)))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def stratified(
    scores: Floats, rng: np.random.Generator, statistic: Callable[[Floats], Floats], *, reps: int = 2_000
) -> Floats:
    """Bootstrap values of a statistic; scores (n_seeds, n_blocks, ...), seeds drawn within each block. -> (reps, ...).

    `statistic` maps (chunk, n_seeds, n_blocks, ...) to (chunk, ...). All methods share the draw, so they stay paired.
    """
    seeds, blocks = scores.shape[:2]
    size = max(1, _CHUNK // scores.size)
    parts = []
    for start in range(0, reps, size):
        picked = rng.integers(seeds, size=(min(size, reps - start), seeds, blocks))
        parts.append(statistic(scores[picked, np.arange(blocks)]))
    return np.concatenate(parts)


def percentile(drawn: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile limits along the first axis."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _two_way_means(d: Floats, rng: np.random.Generator, reps: int) -> Iterator[Floats]:
    seeds, examples = d.shape
    size = max(1, _CHUNK // max(d.shape))
    for start in range(0, reps, size):
        n = min(size, reps - start)
        by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), n) if seeds > 1 else np.ones((n, 1))
        by_example = rng.multinomial(examples, np.full(examples, 1 / examples), n)
        yield np.einsum("re,re->r", by_seed @ d, by_example) / d.size


def _deviations(means: Floats) -> Floats:
    return (means - means.mean()) / len(means)
