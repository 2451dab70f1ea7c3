"""Paired tests against scipy and statsmodels, and their false-positive rates in 2,000 simulated studies."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from analysis.stats.paired import holm, mcnemar, paired_t, pairs, pairwise_t, t_p

STUDIES = 2_000


def test_the_paired_t_test_is_scipys() -> None:
    a, b = np.random.default_rng(0).normal(0, 1, (2, 6))
    assert paired_t(a, b).p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_t(a, b).difference.mean == pytest.approx((a - b).mean())


def test_missing_seeds_are_left_out_of_a_pair() -> None:
    d = np.array([[1.0, 2.0, np.nan, 4.0], [np.nan, np.nan, np.nan, 1.0]])
    p = t_p(d)
    assert p[0] == pytest.approx(stats.ttest_1samp([1.0, 2.0, 4.0], 0).pvalue)
    assert np.isnan(p[1])


def test_differences_without_spread_have_the_p_of_the_sign_flip_test() -> None:
    assert paired_t([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).p == 1.0
    equal = paired_t([1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    signs = [abs(a + b + c) * 0.5 for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert equal.p == np.mean(np.array(signs) >= 1.5) == 0.25
    assert not equal.difference.known


def test_the_sd_is_half_a_step_at_least() -> None:
    """Three seeds, each one example of 500 better: t = 0.2 / (0.1 / √3) on two degrees of freedom."""
    equal = paired_t([80.2, 81.2, 82.2], [80.0, 81.0, 82.0], step=0.2)
    assert equal.p == pytest.approx(2 * stats.t.sf(0.2 / (0.1 / np.sqrt(3)), 2))
    assert equal.difference.half == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3))
    wide = np.array([1.0, 3.0, 2.0])
    assert t_p(wide, step=0.2) == pytest.approx(stats.ttest_1samp(wide, 0).pvalue)


@pytest.mark.parametrize(("seeds", "methods"), [(3, 2), (3, 11), (5, 4), (5, 11), (10, 11)])
@pytest.mark.parametrize("step", [100 / 224, 0.1])
def test_equal_methods_with_coarse_scores_are_not_told_apart(seeds: int, methods: int, step: float) -> None:
    """Accuracies over 224 and 1,000 examples, seeds' SD .3 points: without the floor up to 70 % of studies err."""
    rng = np.random.default_rng(8)
    scores = rng.uniform(60, 90, (STUDIES, 1, 1)) + rng.normal(0, 0.3, (STUDIES, seeds, methods))
    p = pairwise_t(np.round(scores / step) * step, step)
    assert (np.nanmin(p.reshape(STUDIES, -1), axis=1) < 0.05).mean() <= 0.055 + 0.005  # one standard error of 2,000


def test_holm_is_statsmodels_holm() -> None:
    p = np.random.default_rng(1).uniform(0, 0.2, 45)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_an_untestable_pair_is_not_in_the_family() -> None:
    adjusted = holm([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])


def test_mcnemar_is_statsmodels_exact_mcnemar() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.uniform(size=300) < 0.8, rng.uniform(size=300) < 0.7
    cross = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert mcnemar(a, b) == pytest.approx(statsmodels_mcnemar(cross, exact=True).pvalue)
    assert mcnemar(a, a) == 1.0


def test_unpaired_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired"):
        mcnemar([True, False], [True])


def test_two_seeds_are_no_claim() -> None:
    scores = np.array([[0.0, 9.0], [0.1, 9.0]])
    assert np.isnan(pairwise_t(scores)[0, 1])


def test_the_table_of_all_pairs_is_scipys_pairs_with_holm() -> None:
    x = np.random.default_rng(3).normal(0, 1, (5, 4)) + [0, 1, 2, 9]
    raw = [stats.ttest_rel(x[:, i], x[:, j]).pvalue for i, j in pairs(4)]
    expected = multipletests(raw, method="holm")[1]
    found = pairwise_t(x)
    assert [found[i, j] for i, j in pairs(4)] == pytest.approx(list(expected))
    assert (found == found.T)[~np.isnan(found)].all()


def test_the_paired_test_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 1, (STUDIES, 5, 1))  # a seed is good or bad for both methods
    scores = shared + rng.normal(0, 0.5, (STUDIES, 5, 2))
    p = t_p(scores[..., 0] - scores[..., 1])
    assert 0.035 <= (p < 0.05).mean() <= 0.055


def test_holm_over_eleven_methods_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0, 1, (STUDIES, 5, 1)) + rng.normal(0, 0.5, (STUDIES, 5, 11))
    found = pairwise_t(scores)
    any_pair = np.nanmin(found.reshape(STUDIES, -1), axis=1) < 0.05
    assert any_pair.mean() <= 0.055


def test_holm_against_one_control_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(6)
    scores = rng.normal(0, 1, (STUDIES, 5, 1)) + rng.normal(0, 0.5, (STUDIES, 5, 11))
    p = holm(t_p(np.swapaxes(scores[..., 1:] - scores[..., :1], -1, -2)))
    assert 0.02 <= (p.min(axis=1) < 0.05).mean() <= 0.055


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(7)
    d = rng.normal(2.0, 1.0, (500, 5))
    assert (t_p(d) < 0.05).mean() > 0.8
