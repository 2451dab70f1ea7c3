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
    first, second = (pooled_iqm(x, np.random.default_rng(3), reps=200) for _ in range(2))
    assert (first.low == second.low).all() and (first.high == second.high).all()
    assert (first.low <= first.value).all() and (first.value <= first.high).all()


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_pooled_interval_covers_over_many_blocks(seeds: int) -> None:
    """Ten blocks, symmetric scores: the true IQM is zero."""
    rng = np.random.default_rng(4)
    found = [pooled_iqm(rng.normal(0, 1, (seeds, 10, 1)), rng, reps=300) for _ in range(1_000)]
    assert 0.93 <= np.mean([f.low[0] <= 0 <= f.high[0] for f in found]) <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("blocks", [2, 10])
@pytest.mark.parametrize("shift", [0.0, 2.0, 4.0])
def test_the_interval_of_the_probability_of_improvement_covers(seeds: int, blocks: int, shift: float) -> None:
    """Normal scores with unit variance: P(method > control) is the normal distribution at shift / √2; .998 at 4."""
    rng = np.random.default_rng(5)
    truth, moved = stats.norm.cdf(shift / np.sqrt(2)), np.array([0.0, shift])
    found = [pooled_improvement(rng.normal(0, 1, (seeds, blocks, 2)) + moved, 0) for _ in range(400)]
    assert np.mean([f.low[1] <= truth <= f.high[1] for f in found]) >= 0.93


def test_the_interval_of_the_probability_of_improvement_of_few_blocks_is_no_wider_than_it_must_be() -> None:
    """Two blocks of three seeds, where Student's t in place of the normal quantile covers 98.5 %."""
    rng = np.random.default_rng(8)
    found = [pooled_improvement(rng.normal(0, 1, (3, 2, 2)) + np.array([0.0, 0.5]), 0) for _ in range(1_500)]
    assert 0.93 <= np.mean([f.low[1] <= 0.638163 <= f.high[1] for f in found]) <= 0.97


def test_a_method_that_always_wins_is_not_certain_to() -> None:
    found = pooled_improvement(np.array([0.0, 9.0]) + np.zeros((3, 2, 1)), 0)
    assert (found.value[1], found.high[1]) == (1.0, 1.0)
    assert 0.3 < found.low[1] < 0.9


def test_the_controls_noise_is_in_the_interval_of_the_interquartile_mean() -> None:
    """One method, 100 times as steady as the control it is divided by: all of the interval is the control's."""
    rng = np.random.default_rng(6)
    x = np.stack([rng.normal(1, 0.2, (5, 4)), rng.normal(1, 0.002, (5, 4))], axis=-1)
    alone = pooled_iqm(x, np.random.default_rng(7))
    divided = pooled_iqm(x, np.random.default_rng(7), lambda s: s / s[..., :1].mean(axis=-3, keepdims=True))
    assert divided.high[1] - divided.low[1] > 20 * (alone.high[1] - alone.low[1])
