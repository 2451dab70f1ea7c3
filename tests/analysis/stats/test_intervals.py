"""Intervals against scipy and against simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.stats.bootstrap import paired_bca
from analysis.stats.intervals import log_ratio_interval, t_interval


def test_the_t_interval_is_scipys() -> None:
    x = np.random.default_rng(0).normal(90, 2, 5)
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    found = t_interval(x)
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((x.mean(), low, high, 5))


def test_one_run_has_no_spread_and_none_has_no_mean() -> None:
    assert t_interval([3.0]).mean == 3.0
    assert np.isnan(t_interval([3.0]).half)
    assert np.isnan(t_interval([]).mean)


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        t_interval([1.0, np.nan])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_t_interval_covers_what_it_says(n: int) -> None:
    x = np.random.default_rng(n).normal(0, 1, (4_000, n))
    covered = np.mean([found.low <= 0 <= found.high for found in map(t_interval, x)])
    assert 0.93 <= covered <= 0.97


def test_ratios_are_averaged_on_the_log_scale() -> None:
    found = log_ratio_interval([2.0, 8.0, 4.0], [1.0, 1.0, 1.0])
    assert found.mean == pytest.approx(4.0)
    assert found.low * found.high == pytest.approx(16.0)


def test_bca_over_examples_agrees_with_scipys_bca() -> None:
    d = np.random.default_rng(1).exponential(1.0, 60)
    ours = paired_bca(d, np.zeros(60), np.random.default_rng(2), reps=20_000)
    scipys = stats.bootstrap((d,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(3))
    assert (ours.low, ours.high) == pytest.approx(
        tuple(scipys.confidence_interval), abs=0.03
    )  # scipy's own two runs differ by 0.015; percentile limits by 0.1


def test_equal_generators_give_equal_intervals() -> None:
    a, b = np.random.default_rng(4).normal(0, 1, (2, 5, 40))
    first, second = (paired_bca(a, b, np.random.default_rng(5), reps=500) for _ in range(2))
    assert first == second
    assert first != paired_bca(a, b, np.random.default_rng(6), reps=500)


def test_no_difference_at_all_has_no_width() -> None:
    a = np.ones((3, 10))
    found = paired_bca(a, a, np.random.default_rng(0), reps=100)
    assert (found.low, found.mean, found.high) == (0.0, 0.0, 0.0)


def test_the_crossed_bootstrap_covers_what_it_says() -> None:
    """Ten seeds that differ, 100 examples that differ, and noise: the truth is zero in each study."""
    rng = np.random.default_rng(7)
    studies, seeds, examples = 500, 10, 100
    d = rng.normal(0, 0.1, (studies, seeds, 1)) + rng.normal(0, 1, (studies, 1, examples))
    d = d + rng.normal(0, 1, (studies, seeds, examples))
    found = [paired_bca(x, np.zeros_like(x), rng, reps=400) for x in d]
    assert 0.93 <= np.mean([f.low <= 0 <= f.high for f in found]) <= 0.97
