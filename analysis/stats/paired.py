"""Paired comparisons: two methods on the same seeds or the same examples. Refuses unpaired input of different lengths."""

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


def paired_t(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Student's paired t test of a - b, both (n_seeds,). Differences without any spread give p = 0, or 1 when they are all zero."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    estimate = t_interval(difference)
    if estimate.n < 2:
        return PairedTest(estimate, np.nan)
    spread = float(difference.std(ddof=1))
    if spread <= 1e-12 * max(1.0, float(np.abs(np.asarray(a, float)).max())):
        return PairedTest(estimate, float(np.isclose(estimate.mean, 0.0)))
    t = estimate.mean / (spread / np.sqrt(estimate.n))
    return PairedTest(estimate, float(2 * stats.t.sf(abs(t), estimate.n - 1)))


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> float:
    """Exact two-sided McNemar test on one test set, both (n_examples,) of booleans: a binomial test on the discordant pairs."""
    a, b = np.asarray(a_correct, bool), np.asarray(b_correct, bool)
    if a.shape != b.shape:
        raise ValueError(f"mcnemar: {a.shape} and {b.shape} answers are not paired")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return 1.0 if only_a + only_b == 0 else float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjustment of a family of p values (m,). NaN (not testable) stays NaN and does not count in the family."""
    raw = np.asarray(p, float)
    adjusted = np.full(raw.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    steps = raw[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def pairwise_t(scores: ArrayLike) -> NDArray[np.float64]:
    """Holm-adjusted p of every paired t test; scores: (n_seeds, n_methods), NaN where a run has no score. Returns (m, m).

    Each pair uses the seeds both methods have; pairs with fewer than three seeds are not tested (no claim below 3).
    """
    x = np.asarray(scores, float)
    m = x.shape[1]
    upper = [(i, j) for i in range(m) for j in range(i + 1, m)]
    raw = []
    for i, j in upper:
        both = ~np.isnan(x[:, i]) & ~np.isnan(x[:, j])
        raw.append(paired_t(x[both, i], x[both, j]).p if both.sum() >= 3 else np.nan)
    table = np.full((m, m), np.nan)
    for (i, j), p in zip(upper, holm(raw), strict=True):
        table[i, j] = table[j, i] = p
    return table
