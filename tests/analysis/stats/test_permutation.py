"""Exact tests against scipy and plain enumeration, and their level where blocks of one model move together."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from analysis.stats.permutation import clusters_needed, relabelling_p, sign_flip_p
from analysis.stats.ranks import against, ranking


@pytest.mark.parametrize("n", [3, 8, 15])
def test_signs_of_independent_blocks_are_scipys_exact_wilcoxon(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, n)
    assert sign_flip_p(d, range(n)) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


def test_signs_of_clusters_are_those_of_all_choices_by_hand() -> None:
    d, models = np.array([1.0, 2.0, -0.5, 3.0, 3.0, 0.0]), ["a", "a", "b", "b", "c", "c"]
    signed = np.sign(d) * np.where(d == 0, 0, stats.rankdata(np.where(d == 0, np.inf, np.abs(d))))
    flipped = [
        abs(sum(s * signed[[m == name for m in models]].sum() for s, name in zip(signs, "abc", strict=True)))
        for signs in product([1, -1], repeat=3)
    ]
    assert sign_flip_p(d, models) == np.mean([f >= abs(signed.sum()) for f in flipped])


def test_relabelling_is_every_relabelling_by_hand() -> None:
    x = np.random.default_rng(1).normal(0, 1, (3, 3)) + [0, 1, 2]
    ranks = stats.rankdata(-x, axis=1)
    every = [
        sum(ranks[b][list(order)] for b, order in enumerate(orders))
        for orders in product(permutations(range(3)), repeat=3)
    ]
    chi = np.array([(total**2).sum() for total in every])
    assert relabelling_p(ranks, range(3)) == pytest.approx(np.mean(chi >= (ranks.sum(axis=0) ** 2).sum() - 1e-9))


def test_drawn_relabellings_agree_with_friedman_where_blocks_are_many() -> None:
    x = np.random.default_rng(2).normal(0, 1, (40, 5)) + [0, 0.1, 0.2, 0.3, 0.4]
    found = ranking(x)
    assert found.p == pytest.approx(found.iman_davenport.p, abs=0.01)


def test_equal_methods_are_not_told_apart_by_blocks_that_share_a_model() -> None:
    """Four models of five datasets, a model likes one method: Iman–Davenport is wrong, relabelling by model is not."""
    rng = np.random.default_rng(3)
    clustered, independent = [], []
    for _ in range(300):
        x = np.repeat(rng.normal(0, 1, (4, 4)), 5, axis=0) + rng.normal(0, 0.5, (20, 4))
        found = ranking(x, clusters=np.repeat(range(4), 5).tolist())
        clustered.append(found.p < 0.05)
        independent.append(found.iman_davenport.p < 0.05)
    assert np.mean(independent) > 0.3
    assert np.mean(clustered) <= 0.075  # 0.05 and two standard errors of 300 studies


def test_too_few_clusters_cannot_tell_anything_and_say_how_many_could() -> None:
    x = np.arange(30.0).reshape(3, 10)
    found = ranking(x)
    assert (found.testable, found.needed) == (False, 11)
    assert min(pair.holm for pair in found.pairs) == 1
    assert clusters_needed(1) == 6 and ranking(np.arange(12.0).reshape(6, 2)).testable
    assert 2.0 ** (1 - clusters_needed(45)) <= 0.05 / 45 < 2.0 ** (2 - clusters_needed(45))


def test_the_control_alone_is_a_smaller_family() -> None:
    x = np.random.default_rng(4).normal(0, 0.1, (8, 4)) + [0, 1, 2, 3]
    found = ranking(x)
    assert against(found, 0) == {1: 3 / 128, 2: 3 / 128, 3: 3 / 128}
    assert {pair.holm for pair in found.pairs} == {6 / 128}
