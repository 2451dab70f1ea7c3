"""Paired comparisons: two methods on the same seeds or the same examples.

Refuses unpaired input of different lengths.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.intervals import Estimate, t_interval


@dataclass(frozen=True)
class PairedTest:
    """Mean difference a - b with its 95 % interval, and the two-sided p. p is NaN with fewer than two pairs."""

    difference: Estimate
    p: float


def paired_t(a: ArrayLike, b: ArrayLike, step: float = 0.0) -> PairedTest:
    """Student's paired t test of a - b, both (n_seeds,); see `t_p`."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    return PairedTest(t_interval(difference, step=step), float(t_p(difference, step)))


def t_p(differences: ArrayLike, step: float = 0.0) -> NDArray[np.float64]:
    """Two-sided p of the one-sample t test along the last axis, NaN values left out; (..., n) -> (...).

    The SD is never below half of `step`, the scores' resolution (`intervals.spread`). Equal differences of unknown
    resolution are untestable by t: they have the p of the sign-flip test, 2^(1-n). NaN below two.
    """
    d = np.asarray(differences, float)
    here = ~np.isnan(d)
    n = here.sum(axis=-1)
    some = np.maximum(n, 1)
    mean = np.where(here, d, 0.0).sum(axis=-1) / some
    squares = np.where(here, (d - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    error = np.maximum(np.sqrt(squares / np.maximum(n - 1, 1)), step / 2) / np.sqrt(some)
    flat = error <= 1e-12 * np.maximum(np.abs(mean), 1e-300)  # no spread: rounding is not evidence
    t = np.abs(mean) / np.where(flat, 1.0, error)
    p = np.where(flat, np.where(mean == 0, 1.0, 2.0 ** (1 - some)), 2 * stats.t.sf(t, np.maximum(n - 1, 1)))
    return np.where(n >= 2, p, np.nan)


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> NDArray[np.float64]:
    """Exact two-sided McNemar test on one test set, both (..., n_examples) booleans -> (...): a binomial test on
    discordant pairs, which at a half is twice the smaller tail.
    """
    a, b = np.asarray(a_correct, bool), np.asarray(b_correct, bool)
    if a.shape != b.shape:
        raise ValueError(f"mcnemar: {a.shape} and {b.shape} answers are not paired")
    only_a, only_b = (a & ~b).sum(axis=-1), (b & ~a).sum(axis=-1)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjustment along the last axis, (..., m).

    NaN (not testable) stays NaN and is not in the family.
    """
    raw = np.asarray(p, float)
    if raw.shape[-1] == 0:
        return raw
    order = np.argsort(raw, axis=-1, kind="stable")  # NaN last
    left = (~np.isnan(raw)).sum(axis=-1, keepdims=True) - np.arange(raw.shape[-1])
    steps = np.take_along_axis(raw, order, axis=-1) * np.maximum(left, 1)
    climbed = np.minimum(1.0, np.fmax.accumulate(steps, axis=-1))
    climbed[np.isnan(steps)] = np.nan
    adjusted = np.empty_like(raw)
    np.put_along_axis(adjusted, order, climbed, axis=-1)
    return adjusted


def pairs(m: int) -> NDArray[np.intp]:
    """(m(m-1)/2, 2): every pair i < j."""
    return np.stack(np.triu_indices(m, 1), axis=1)


def pairwise_t(scores: ArrayLike, step: float = 0.0) -> NDArray[np.float64]:
    """Holm-adjusted p of every paired t test; scores (..., n_seeds, n_methods), NaN where a run has none; `step` as in
    `t_p`. -> (..., m, m).

    A pair uses the seeds that both methods have; fewer than three of them are no test (no claim below 3 seeds).
    """
    x = np.asarray(scores, float)
    i, j = pairs(x.shape[-1]).T
    differences = np.swapaxes(x[..., i] - x[..., j], -1, -2)  # (..., pairs, seeds)
    enough = (~np.isnan(differences)).sum(axis=-1) >= 3
    adjusted = holm(np.where(enough, t_p(differences, step), np.nan))
    table = np.full((*x.shape[:-2], x.shape[-1], x.shape[-1]), np.nan)
    table[..., i, j] = table[..., j, i] = adjusted
    return table
