"""Power against statsmodels; expected best-of-k against all subsets."""

import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import TTestPower

from analysis.metric import Shown
from analysis.stats.paired import t_p
from analysis.stats.power import detectable, detectable_note, expected_best


@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_detectable_difference_is_statsmodels(n: int) -> None:
    effect = TTestPower().solve_power(effect_size=None, nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable(2.5, n) == pytest.approx(2.5 * effect, rel=1e-3)


def test_one_pair_cannot_say() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        detectable(1.0, 1)


def test_the_expected_best_of_k_is_the_mean_over_all_subsets() -> None:
    trials = np.random.default_rng(0).normal(0, 1, 7)
    for k in (1, 3, 7):
        by_hand = np.mean([max(chosen) for chosen in itertools.combinations(trials, k)])
        assert expected_best(trials, k) == pytest.approx(by_hand)


def test_more_trials_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="4 of 3"):
        expected_best([1.0, 2.0, 3.0], 4)


def test_the_note_is_silent_without_a_control() -> None:
    values = pd.DataFrame({"a": [1.0, 2.0, 2.0], "b": [1.5, 2.0, 2.1]})
    assert detectable_note(values, "lora", Shown("accuracy", 100, "%", 2)) == ()
    assert "80 % power" in detectable_note(values, "a", Shown("accuracy", 100, "%", 2))[0]


def test_the_note_has_the_power_of_holms_first_step() -> None:
    """Three comparisons: each at .05 / 3, as Holm's first step asks for."""
    d = [1.0, -1.0, 0.0]
    values = pd.DataFrame({"a": [0.0, 0, 0], "b": d, "c": d, "e": d})
    (note,) = detectable_note(values, "a", Shown("accuracy", 100, "%", 2))
    least = float(note.split("below ")[1].split()[0])
    studies = np.random.default_rng(1).normal(least, 1.0, (40_000, 3))
    assert np.mean(t_p(studies) < 0.05 / 3) == pytest.approx(0.8, abs=0.01)
    assert "first step of Holm over 3 comparisons" in note


def test_the_note_knows_the_resolution_of_the_scores() -> None:
    values = pd.DataFrame({"a": [0.0, 0, 0], "b": [1.0, 1, 1]})
    assert detectable_note(values, "a", Shown("accuracy", 100, "%", 2)) == ()
    (note,) = detectable_note(values, "a", Shown("accuracy", 100, "%", 2), step=1.0)
    assert "median SD of the differences 0.50" in note
