"""Ranks against scipy, a hand-worked example, and 2,000 simulated studies."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.stats.paired import holm, pairs
from analysis.stats.ranks import cliques, ranking, wilcoxon_p

SCORES = np.random.default_rng(0).normal(80, 3, (12, 4)) + [0.0, 0.5, 3.0, 6.0]


def test_mean_ranks_friedman_and_pairs_are_scipys() -> None:
    found = ranking(SCORES)
    chi = stats.friedmanchisquare(*SCORES.T)
    assert found.ranks == pytest.approx(stats.rankdata(-SCORES, axis=1).mean(axis=0))
    assert (found.friedman.statistic, found.friedman.p) == pytest.approx((chi.statistic, chi.pvalue))
    raw = [stats.wilcoxon(SCORES[:, i], SCORES[:, j]).pvalue for i, j in pairs(4)]
    assert [p.p for p in found.pairs] == pytest.approx(raw)
    assert [p.holm for p in found.pairs] == pytest.approx(list(multipletests(raw, method="holm")[1]))
    assert all(p.wins + p.losses + p.ties == 12 for p in found.pairs)


def test_iman_davenport_is_the_f_test_of_the_ranks() -> None:
    """Independent: without ties it is the F test of a two-way analysis of variance on the ranks."""
    ranks = stats.rankdata(-SCORES, axis=1)
    n, k = ranks.shape
    between = n * ((ranks.mean(axis=0) - ranks.mean()) ** 2).sum()
    residual = ((ranks - ranks.mean(axis=0)) ** 2).sum()  # block means are all equal
    f = (between / (k - 1)) / (residual / ((k - 1) * (n - 1)))
    found = ranking(SCORES).iman_davenport
    assert found.statistic == pytest.approx(f)
    assert found.p == pytest.approx(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def test_perfect_agreement_is_as_sure_as_its_blocks_allow() -> None:
    found = ranking(np.arange(15.0).reshape(5, 3))
    assert found.ranks == pytest.approx([3.0, 2.0, 1.0])
    assert found.p == 6**-4


def test_methods_that_never_differ_are_not_told_apart() -> None:
    found = ranking(np.ones((6, 3)))
    assert np.isnan(found.friedman.p)
    assert found.cliques == ((0, 1, 2),)
    assert wilcoxon_p(np.zeros(4)) == 1.0


def test_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="without holes"):
        ranking([[1.0, np.nan], [1.0, 2.0]])


def test_cliques_are_all_maximal_groups_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.normal(0, 1, (14, 6)) + rng.normal(0, 1, 6)
        found = ranking(scores)
        alike = {frozenset((p.a, p.b)) for p in found.pairs if p.holm >= 0.05}
        groups = [
            set(g)
            for n in range(2, 7)
            for g in itertools.combinations(range(6), n)
            if all(frozenset(e) in alike for e in itertools.combinations(g, 2))
        ]
        maximal = {frozenset(g) for g in groups if not any(g < other for other in groups)}
        assert {frozenset(g) for g in cliques(found.ranks, found.pairs, 0.05)} == maximal


def test_wilcoxon_with_holm_over_eleven_methods_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 1, (2_000, 20, 11))
    i, j = pairs(11).T
    p = stats.wilcoxon(scores[..., i] - scores[..., j], axis=1, method="asymptotic").pvalue
    assert (holm(p).min(axis=-1) < 0.05).mean() <= 0.055
