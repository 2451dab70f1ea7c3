"""One number over many blocks: interquartile mean and probability of improvement, with stratified bootstrap intervals.

Agarwal et al. 2021 (arXiv:2108.13264). Raw scores of different metrics never enter: they are normalised per block
first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.bootstrap import percentile, stratified

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """Values with intervals, all (n_methods,)."""

    value: Floats
    low: Floats
    high: Floats


def iqm(scores: Floats) -> Floats:
    """Mean of the middle half of all seeds × blocks; scores (..., n_seeds, n_blocks, n_methods) -> (..., n_methods)."""
    flat = scores.reshape(*scores.shape[:-3], -1, scores.shape[-1])
    return np.asarray(stats.trim_mean(flat, 0.25, axis=-2))


def improvement(scores: Floats, other: Floats) -> Floats:
    """P(method > other), ties half, mean over blocks.

    scores (..., n_seeds, n_blocks, n_methods), other (..., n_seeds, n_blocks) -> (..., n_methods).
    """
    theirs = other[..., None, :, :]
    won = [
        ((mine > theirs) + 0.5 * (mine == theirs)).mean(axis=(-3, -2, -1))
        for mine in (scores[..., :, None, :, m] for m in range(scores.shape[-1]))
    ]
    return np.stack(won, axis=-1)


def pooled_iqm(scores: ArrayLike, rng: np.random.Generator, *, reps: int = 2_000) -> Pooled:
    """IQM of normalised scores (n_seeds, n_blocks, n_methods) with 95 % stratified bootstrap intervals."""
    x = np.asarray(scores, float)
    return Pooled(iqm(x), *percentile(stratified(x, rng, iqm, reps=reps)))


def pooled_improvement(scores: ArrayLike, control: int, rng: np.random.Generator, *, reps: int = 2_000) -> Pooled:
    """Probability of improvement over the control with 95 % stratified bootstrap intervals.

    Method and control are drawn apart here (their seeds are not paired in "a run beats a run").
    """
    x = np.asarray(scores, float)
    seeds, blocks = x.shape[:2]

    def drawn_apart(drawn: Floats) -> Floats:
        picked = rng.integers(seeds, size=(len(drawn), seeds, blocks))
        return improvement(drawn, x[..., control][picked, np.arange(blocks)])

    return Pooled(improvement(x, x[..., control]), *percentile(stratified(x, rng, drawn_apart, reps=reps)))
