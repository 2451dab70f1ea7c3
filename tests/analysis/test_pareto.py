"""Fronts and hypervolumes against brute force and Monte Carlo."""

import numpy as np
import pytest

from analysis.pareto import front, hypervolume, inclusion


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


def test_inclusion_is_certain_where_one_method_is_best_in_all() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 0.1, (5, 2, 2)) + np.array([[5.0, 5.0], [0.0, 0.0]])
    assert inclusion(values, rng, reps=200).tolist() == [1.0, 0.0]


def test_inclusion_of_twins_is_shared() -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(0, 1, (400, 2, 1))
    values = np.concatenate([scores, np.zeros_like(scores)], axis=-1)
    shares = inclusion(values - values.mean(axis=0), rng, reps=2_000)
    assert shares == pytest.approx([0.5, 0.5], abs=0.06)
