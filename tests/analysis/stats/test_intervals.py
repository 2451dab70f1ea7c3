"""Intervals against scipy and against simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.stats.bootstrap import _resampled_means, paired_bca
from analysis.stats.intervals import Estimate, log_ratio_interval, range_level, seed_range, t_interval


def test_the_t_interval_is_scipys() -> None:
    x = np.random.default_rng(0).normal(90, 2, 5)
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    found = t_interval(x)
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((x.mean(), low, high, 5))


def test_one_run_has_no_spread_and_none_has_no_mean() -> None:
    assert t_interval([3.0]).mean == 3.0
    assert np.isnan(t_interval([3.0]).half)
    assert np.isnan(t_interval([]).mean)
    assert not t_interval([3.0, 4.0]).known  # two runs: 12.7 times their SD is no interval


def test_equal_values_have_no_interval_but_that_of_their_resolution() -> None:
    assert not t_interval([90.1, 90.1, 90.1]).known
    assert t_interval([90.1] * 3, step=0.1).half == pytest.approx(stats.t.ppf(0.975, 2) * 0.05 / np.sqrt(3))


def test_an_interval_is_cut_where_the_scale_ends() -> None:
    cut = t_interval([99.0, 97.0, 100.0]).within(0, 100)
    assert cut.high == 100
    assert cut.low == t_interval([99.0, 97.0, 100.0]).low


@pytest.mark.parametrize("interval", [t_interval, seed_range])
def test_a_value_that_is_not_finite_is_refused(interval) -> None:
    with pytest.raises(ValueError, match="not finite"):
        interval([1.0, np.nan])


def test_the_range_is_that_of_three_runs_and_more() -> None:
    assert seed_range([3.0, 5.0, 4.0]) == Estimate(4.0, 3.0, 5.0, 3)
    assert (seed_range([3.0, 5.0]).mean, seed_range([3.0, 5.0]).known) == (4.0, False)
    assert np.isnan(seed_range([]).mean)


@pytest.mark.parametrize("n", [3, 4, 5, 10])
def test_the_level_of_a_range_is_that_of_the_sign_test(n: int) -> None:
    """Two-sided, of n signs that all agree (scipy's binomial test)."""
    assert range_level(n) == pytest.approx(1 - stats.binomtest(n, n, 0.5).pvalue)


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
    a, b = np.random.default_rng(4).normal(0, 1, (2, 1, 40))
    first, second = (paired_bca(a, b, np.random.default_rng(5), reps=500) for _ in range(2))
    assert first == second
    assert first != paired_bca(a, b, np.random.default_rng(6), reps=500)


def test_no_difference_at_all_has_no_width() -> None:
    a = np.ones((3, 10))
    found = paired_bca(a, a, np.random.default_rng(0), reps=100)
    assert (found.low, found.mean, found.high) == (0.0, 0.0, 0.0)


# What differs in a study of answers: the spread of seeds and of examples, on the scale of a logit.
STUDIES_OF_ANSWERS = {"seeds": (1.0, 0.3), "examples": (0.05, 2.0), "both": (0.3, 0.8), "neither": (0.0, 0.0)}


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "what"), [*((3, what) for what in STUDIES_OF_ANSWERS), (5, "both")])
def test_the_interval_over_seeds_and_examples_covers_what_it_says(seeds: int, what: str) -> None:
    """Two methods that are equally good; which answers are right depends on seed and example. The truth is zero."""
    by_seed, by_example = STUDIES_OF_ANSWERS[what]
    rng = np.random.default_rng(7)

    def right() -> np.ndarray:
        logit = 1.5 + rng.normal(0, by_seed, (seeds, 1)) + rng.normal(0, by_example, (1, 150))
        return rng.uniform(size=(seeds, 150)) < 1 / (1 + np.exp(-logit))

    found = [paired_bca(right(), right(), rng, reps=800) for _ in range(1_000)]
    covered = np.mean([f.low <= 0 <= f.high for f in found])
    assert 0.93 <= covered <= (0.99 if what == "examples" else 0.975)


def test_a_bootstrap_over_three_seeds_would_not_cover() -> None:
    """Why seeds are not resampled: with all the spread between them, the interval is that of Student's t."""
    means = np.array([0.1, 0.2, 0.4])
    found = paired_bca(np.repeat(means[:, None], 50, axis=1), np.zeros((3, 50)), np.random.default_rng(1))
    expected = t_interval(means)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.01)


def test_the_sum_of_many_resampled_answers_is_drawn_as_often_as_by_counts() -> None:
    """Means over 46 seeds of 40 examples, 23 of them alike; the other way draws how often each example is taken."""
    x = np.concatenate([np.arange(17) / 46, np.full(23, 5 / 46)])
    by_sum, by_counts = (_resampled_means(v, np.random.default_rng(3), 200_000) for v in (x, x + 1e-7 * np.pi))
    assert np.allclose(np.rint(by_sum * 46 * 40), by_sum * 46 * 40)
    assert by_sum.mean() == pytest.approx(x.mean(), abs=1e-4)
    assert by_sum.std() == pytest.approx(x.std() / np.sqrt(40), rel=0.01)
    shares = [0.001, 0.025, 0.2, 0.5, 0.8, 0.975, 0.999]
    assert np.quantile(by_sum, shares) == pytest.approx(np.quantile(by_counts, shares), abs=0.1 * by_sum.std())


def test_what_few_seeds_draw_is_as_it_was() -> None:
    x = np.array([-1.0, -1 / 3, 0.0, 1 / 3, 1.0]).repeat(20)
    counts = np.random.default_rng(9).multinomial(100, np.full(5, 0.2), 50)
    assert np.array_equal(_resampled_means(x, np.random.default_rng(9), 50), counts @ np.unique(x) / 100)
