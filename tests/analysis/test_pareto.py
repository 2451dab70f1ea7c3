"""Fronts and hypervolumes against brute force and Monte Carlo."""

import itertools

import numpy as np
import pytest

from analysis.pareto import front, hypervolume, inclusion, resamples


def test_a_front_is_what_nobody_dominates() -> None:
    x = np.random.default_rng(0).normal(0, 1, (30, 3))
    by_hand = [not any((y >= p).all() and (y > p).any() for y in x) for p in x]
    assert front(x).tolist() == by_hand


def test_equal_points_are_both_on_the_front() -> None:
    assert front([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]).tolist() == [True, True, False]


def test_a_point_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        front([[np.nan, 1.0]])


def test_hypervolume_of_two_boxes_by_hand() -> None:
    assert hypervolume([[2.0, 1.0], [1.0, 3.0]], [0.0, 0.0]) == pytest.approx(2 + 3 - 1)
    assert hypervolume([[-1.0, 5.0]], [0.0, 0.0]) == 0.0


@pytest.mark.parametrize("d", [2, 3, 4])
def test_hypervolume_is_the_share_of_random_points_covered(d: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.uniform(0, 1, (6, d))
    thrown = rng.uniform(0, 1, (40_000, d))
    covered = (x[None] >= thrown[:, None]).all(axis=-1).any(axis=-1).mean()
    assert hypervolume(x, np.zeros(d)) == pytest.approx(covered, abs=0.012)


def test_a_batch_of_sets_is_each_set_by_itself() -> None:
    x = np.random.default_rng(5).uniform(0, 1, (4, 5, 3))
    assert hypervolume(x, np.zeros(3)) == pytest.approx([float(hypervolume(y, np.zeros(3))) for y in x])


def test_every_sample_of_few_seeds_is_looked_at() -> None:
    """27 ordered samples of three seeds, by hand."""
    values = np.random.default_rng(6).normal(0, 1, (3, 4, 2))
    every = [front(values[list(s)].mean(axis=0)) for s in itertools.product(range(3), repeat=3)]
    counts, chances = resamples(3, np.random.default_rng(0), 1)
    assert chances.sum() == pytest.approx(1)
    assert inclusion(values, counts, chances) == pytest.approx(np.mean(every, axis=0))


def test_inclusion_is_certain_where_one_method_is_best_in_all() -> None:
    values = np.random.default_rng(6).normal(0, 0.1, (5, 2, 2)) + np.array([[5.0, 5.0], [0.0, 0.0]])
    assert inclusion(values, *resamples(5, np.random.default_rng(0), 1)).tolist() == pytest.approx([1.0, 0.0])


def test_ties_of_a_sample_count_half() -> None:
    """The dear method wins one seed, loses one, ties one: above in 10 of 27 samples, equal in 7."""
    values = np.array([[[0.7, 0], [0.6, -1]], [[0.6, 0], [0.7, -1]], [[0.5, 0], [0.5, -1]]])
    shares = inclusion(values, *resamples(3, np.random.default_rng(0), 1))
    assert shares == pytest.approx([1.0, (10 + 7 / 2) / 27])


def test_many_seeds_are_drawn_and_common_draws_are_kept() -> None:
    counts, chances = resamples(10, np.random.default_rng(0), 500)
    assert counts.shape == (500, 10) and (counts.sum(axis=1) == 10).all() and chances.sum() == pytest.approx(1)
