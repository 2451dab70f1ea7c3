"""When things happen: pure functions of the step."""

import math

import pytest

from harness.training.schedule import TrainSchedule, train_schedule


def _line(**change):
    facts = {"total": 100, "steps_per_epoch": 10, "warmup": 10, "evaluations": frozenset({100}), "schedule": "linear"}
    return TrainSchedule(**facts | {"final_ratio": 0.0} | change)


def test_the_rate_rises_through_the_warm_up_and_falls_to_the_end():
    rates = [_line().rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 11 for n in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[99] == pytest.approx(1 / 90)


def test_cosine_meets_its_formula_and_its_floor():
    schedule = _line(schedule="cosine", final_ratio=0.1)
    assert schedule.rate(55) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 45 / 90)))
    assert schedule.rate(100) == pytest.approx(0.1)


def test_constant_stays():
    assert {_line(schedule="constant", warmup=0).rate(step) for step in range(100)} == {1.0}


def test_evaluations_are_evenly_spaced_and_the_last_is_at_the_end(recipe):
    schedule = train_schedule(recipe(epochs=3, evaluations=4), steps_per_epoch=10)
    assert schedule.total == 30
    assert sorted(schedule.evaluations) == [8, 15, 22, 30]


def test_the_warm_up_is_a_share_of_the_whole_training(recipe):
    assert train_schedule(recipe(epochs=3, warmup_ratio=0.1), steps_per_epoch=10).warmup == 3
    assert train_schedule(recipe(epochs=3, warmup_ratio=0.1, max_steps=20), steps_per_epoch=10).warmup == 2


def test_max_steps_ends_a_training_early(recipe):
    assert train_schedule(recipe(epochs=3, max_steps=7), steps_per_epoch=10).total == 7


def test_a_fraction_of_an_epoch_is_at_least_one_step(recipe):
    schedule = train_schedule(recipe(epochs=0.01, evaluations=3), steps_per_epoch=10)
    assert schedule.total == 1 and schedule.evaluations == {1}
