"""Pooled statistics against plain loops, and coverage of their intervals."""

import numpy as np
import pytest
from scipy import stats

from analysis.stats.pooled import improvement, iqm, pooled_improvement, pooled_iqm


def test_the_iqm_is_scipys_trimmed_mean() -> None:
    x = np.random.default_rng(0).normal(0, 1, (5, 8, 3))
    assert iqm(x) == pytest.approx([stats.trim_mean(x[..., m].ravel(), 0.25) for m in range(3)])


def test_the_probability_of_improvement_is_mann_whitneys_u() -> None:
    x = np.round(np.random.default_rng(1).normal(0, 1, (6, 4, 2)), 1)
    u = [stats.mannwhitneyu(x[:, b, 1], x[:, b, 0]).statistic / 36 for b in range(4)]
    assert improvement(x, 0)[1] == pytest.approx(np.mean(u))
    assert improvement(x, 0)[0] == pytest.approx(0.5)


def test_equal_generators_give_equal_pooled_intervals() -> None:
    x = np.random.default_rng(2).normal(0, 1, (5, 4, 3))
    for statistic in (pooled_iqm, lambda v, g, reps: pooled_improvement(v, 0, g, reps=reps)):
        first, second = (statistic(x, np.random.default_rng(3), reps=200) for _ in range(2))
        assert (first.low == second.low).all() and (first.high == second.high).all()
        assert (first.low <= first.value).all() and (first.value <= first.high).all()


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_pooled_interval_covers_over_many_blocks(seeds: int) -> None:
    """Ten blocks, symmetric scores: the true IQM is zero."""
    rng = np.random.default_rng(4)
    found = [pooled_iqm(rng.normal(0, 1, (seeds, 10, 1)), rng, reps=300) for _ in range(1_000)]
    assert 0.93 <= np.mean([f.low[0] <= 0 <= f.high[0] for f in found]) <= 0.97


@pytest.mark.parametrize(("seeds", "shift"), [(3, 0.0), (3, 0.7), (5, 0.7)])
def test_the_interval_of_the_probability_of_improvement_covers(seeds: int, shift: float) -> None:
    """Ten blocks, normal scores with unit variance: P(method > control) is the normal distribution at shift / √2."""
    rng = np.random.default_rng(5)
    truth, moved = stats.norm.cdf(shift / np.sqrt(2)), np.array([0.0, shift])
    found = [pooled_improvement(rng.normal(0, 1, (seeds, 10, 2)) + moved, 0, rng, reps=300) for _ in range(500)]
    assert 0.93 <= np.mean([f.low[1] <= truth <= f.high[1] for f in found]) <= 0.985
