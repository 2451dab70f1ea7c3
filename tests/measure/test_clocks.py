"""Clocks that add up, and steps that are not billed for what happens between them."""

import time

import pytest
import torch

from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import CLOCKS
from harness.measure.clocks import Clocks, StepTimer


class FakeTime:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_sleep_planted_in_evaluation_leaves_train_unchanged() -> None:
    clocks = Clocks("cpu", now := FakeTime())
    with clocks.run("train"):
        with clocks.run("eval"):
            now.now += 50
    assert clocks.seconds()["eval"] == 50
    assert clocks.seconds()["train"] == 0


def test_the_five_clocks_add_up_to_the_wall_time() -> None:
    """On the real clock; bounds on both sides, as another program may take the CPU at any moment."""
    before = time.perf_counter()
    clocks = Clocks("cpu")
    made = time.perf_counter()
    time.sleep(0.01)
    with clocks.run("train"):
        time.sleep(0.01)
        with clocks.run("log"):
            time.sleep(0.01)
        with clocks.run("checkpoint"):
            time.sleep(0.01)
    asked = time.perf_counter()
    seconds, wall = clocks.seconds(), clocks.wall()
    longest, rounding = time.perf_counter() - before, 1e-6
    assert set(seconds) == set(CLOCKS) and seconds["eval"] == 0
    assert all(seconds[clock] >= 0.01 for clock in ("setup", "train", "log", "checkpoint"))
    assert all(asked - made - rounding <= total <= longest + rounding for total in (sum(seconds.values()), wall))


def test_unnamed_time_belongs_to_the_window_around_it() -> None:
    now = FakeTime()
    clocks = Clocks("cpu", now)
    now.now += 1
    with clocks.run("train"):
        now.now += 2
        with clocks.run("eval"):
            now.now += 4
        now.now += 8
    now.now += 16
    assert clocks.seconds() == {"setup": 17, "train": 10, "eval": 4, "checkpoint": 0, "log": 0}
    assert clocks.wall() == 31


def test_an_error_inside_a_window_still_closes_it() -> None:
    now = FakeTime()
    clocks = Clocks("cpu", now)
    with pytest.raises(ValueError, match="boom"), clocks.run("train"):
        now.now += 3
        assert clocks.phase == "train"
        raise ValueError("boom")
    assert clocks.phase == "setup" and clocks.seconds()["train"] == 3


def test_a_failure_names_the_innermost_window_it_came_out_of() -> None:
    clocks = Clocks("cpu")
    assert clocks.failed_in == "setup"
    with pytest.raises(ValueError, match="boom"), clocks.run("train"):
        with clocks.run("eval"):
            raise ValueError("boom")
    assert clocks.failed_in == "eval"


def test_an_unknown_clock_is_refused() -> None:
    clocks = Clocks("cpu")
    with pytest.raises(KeyError, match="validation"), clocks.run("validation"):
        pass


def test_queued_kernels_are_billed_to_the_window_that_queued_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow kernel is queued in training; the device is waited for at the window's edge, on the train clock."""
    now, queued = FakeTime(), []

    def finish(device: torch.device) -> None:
        now.now += sum(queued)
        queued.clear()

    monkeypatch.setattr("harness.measure.clocks.synchronise", finish)
    clocks = Clocks("cpu", now)
    with clocks.run("train"):
        queued.append(5.0)
        with clocks.run("eval"):
            now.now += 1
    assert clocks.seconds()["train"] == 5 and clocks.seconds()["eval"] == 1


def test_set_up_that_the_worker_pays_once_is_apart_from_the_clocks_and_from_the_wall_also_after_a_requeue() -> None:
    now = FakeTime()
    first = Clocks("cpu", now)
    first.set_up_is_the_workers()
    now.now += 9
    with first.run("train"):
        now.now += 2
    second = Clocks("cpu", now)
    second.restore(first.state())
    for clocks in (first, second):
        seconds = clocks.quantities()
        assert seconds["worker_setup"] == Measured(9, "s") and isinstance(seconds["setup"], NotMeasured)
        assert seconds["wall"] == seconds["train"] == Measured(2, "s")
    assert isinstance(Clocks("cpu", now).quantities()["worker_setup"], NotMeasured)


def test_clocks_go_on_after_a_requeue_and_lost_work_is_its_own_number() -> None:
    now = FakeTime()
    first = Clocks("cpu", now)
    with first.run("train"):
        now.now += 10
        state = first.state()  # checkpoint after 10 s
        now.now += 3  # lost with the node
        last_seen = first.seconds()["train"]
    now.now += 1000  # in the queue
    second = Clocks("cpu", now)
    now.now += 2
    second.restore(state, last_seen_train=last_seen)
    with second.run("train"):
        now.now += 5
    assert second.seconds()["train"] == 15 and second.seconds()["setup"] == 2
    assert sum(second.seconds().values()) == second.wall() == 17
    assert second.quantities()["train_wasted"] == Measured(3, "s")


def test_what_an_attempt_spends_before_it_finds_its_checkpoint_is_kept() -> None:
    now = FakeTime()
    first = Clocks("cpu", now)
    with first.run("log"):
        now.now += 4
    state, second = first.state(), Clocks("cpu", now)
    with second.run("log"):
        now.now += 3
    second.restore(state)
    assert second.seconds()["log"] == second.wall() == 7


def test_wasted_work_adds_up_over_restarts() -> None:
    now = FakeTime()
    state = Clocks("cpu", now).state() | {"train_wasted": 2.0}
    clocks = Clocks("cpu", now)
    clocks.restore(state, last_seen_train=4.0)
    assert clocks.quantities()["train_wasted"] == Measured(6, "s")


def _timer(ms: list[float], drop: int, monkeypatch: pytest.MonkeyPatch) -> StepTimer:
    now = FakeTime()
    monkeypatch.setattr("harness.measure.clocks.time.perf_counter", now)
    timer = StepTimer("cpu", drop)
    for value in ms:
        timer.start()
        now.now += value / 1e3
        timer.stop(samples=4, tokens=30, padded_tokens=40)
        now.now += 7  # evaluation, logging: between steps
    return timer


def test_step_times_leave_out_warm_up_and_what_lies_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _timer([900, 800, 10, 20, 30, 40, 100], 2, monkeypatch).quantities()
    ms = torch.tensor([10.0, 20, 30, 40, 100], dtype=torch.float64)
    assert found["step_ms_median"].value == pytest.approx(30) and found["step_ms_median"].n == 5
    assert found["step_ms_p5"].value == pytest.approx(float(ms.quantile(0.05)))
    assert found["step_ms_p95"].value == pytest.approx(float(ms.quantile(0.95)))
    assert found["step_ms_mad"].value == pytest.approx(10)  # |ms − 30|: 20 10 0 10 70
    assert found["samples_per_s"].value == pytest.approx(5 * 4 / 0.2)
    assert found["tokens_per_s"].value == pytest.approx(5 * 30 / 0.2)
    assert found["padding_share"].value == pytest.approx(0.25)


def test_a_run_of_warm_up_steps_alone_has_no_step_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _timer([5, 5], 2, monkeypatch).quantities()
    assert all(isinstance(quantity, NotMeasured) for quantity in found.values()) and len(found) == 7


def test_a_resumed_timer_keeps_its_steps_and_warms_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    state = _timer([90, 10, 10], 1, monkeypatch).state()
    second = _timer([], 1, monkeypatch)
    second.restore(state)
    second.start()
    second.stop(samples=1, tokens=1, padded_tokens=1)  # the new attempt's warm-up step
    assert second.milliseconds() == pytest.approx([10, 10])
    assert second.quantities()["samples_per_s"].value == pytest.approx(8 / 0.02)
