"""Counts and printed decimals tie exactly, whatever the order of a sum does to floats."""

from fractions import Fraction
from itertools import permutations

import numpy as np
from scipy import stats

from analysis.stats import exact
from analysis.stats.ranks import ranking


def test_a_count_of_examples_and_a_printed_value_are_fractions() -> None:
    assert exact.rational(681 / 1014) == Fraction(681, 1014)
    assert exact.rational(70.8) == Fraction(708, 10)
    assert exact.rational(np.pi) == Fraction(np.pi)


def test_means_of_equal_counts_are_equal_in_any_order() -> None:
    counts = np.array([211, 233, 237]) / 1014
    means = exact.mean(np.array(list(permutations(counts))).T)
    assert len(set(means.tolist())) == 1
    assert means[0] == 681 / 3042
    plain = {(a + b + c) / 3 for a, b, c in permutations([0.1, 0.2, 0.3])}
    assert len(plain) > 1  # what floats do without


def test_equal_differences_of_printed_values_are_equal() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1
    assert len(set(exact.differences([0.3, 0.2, 70.9], [0.2, 0.1, 70.8]).tolist())) == 1


def test_a_lattice_makes_counts_whole_and_leaves_times_alone() -> None:
    assert exact.lattice([[1 / 3, 0.5], [2 / 3, 0.1]]).tolist() == [[10, 15], [20, 3]]
    times = [12.345678901234, 3.9876543210987]
    assert exact.lattice(times).tolist() == times


def test_methods_with_the_same_number_right_share_a_rank_and_a_win() -> None:
    """LoRA and cLA both had 681 of 1,014 right."""
    third = (226 / 338 + 232 / 338 + 223 / 338) / 3, (223 / 338 + 226 / 338 + 232 / 338) / 3
    blocks = np.array([[0.9, 0.8], [0.7, 0.8], third])
    found = ranking(blocks)
    assert found.ranks.tolist() == [1.5, 1.5]
    assert (found.pairs[0].wins, found.pairs[0].losses, found.pairs[0].ties) == (1, 1, 1)


def test_the_exact_p_of_tied_decimals_is_that_of_whole_numbers() -> None:
    a, b = [70.8, 65.3, 81.2, 44.4, 59.9, 60.1], [70.5, 65.6, 80.6, 44.1, 59.3, 60.1]
    whole = np.array([3, -3, 6, 3, 6])
    ranks, sums = stats.rankdata(np.abs(whole)), np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums + rank, sums - rank])
    expected = (np.abs(sums) >= abs((np.sign(whole) * ranks).sum())).mean()
    assert ranking(np.column_stack([a, b])).pairs[0].p == expected
