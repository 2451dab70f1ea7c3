"""Events in words: the planted time of day, the step, and the numbers that matter; nothing breaks on what is odd."""

import time

import pytest

from harness.ledger.event_text import event_text, seconds_text


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_validation_is_told_with_time_step_losses_and_scores():
    event = {
        "t": 86400 + 3661.5,
        "event": "val",
        "step": 40,
        "total": 120,
        "best": 40,
        "train_loss": 0.56208,
        "val_f1": 1.0,
    }
    assert event_text(event) == "1970-01-02 01:01:01  val     step 40 of 120  train_loss 0.5621  val_f1 1"


def test_the_end_says_how_long_it_took_and_the_scores_alone():
    event = {"t": 0, "event": "end", "status": "done", "seconds/wall": 200.0, "work/steps": 3, "test/accuracy": 0.5}
    assert event_text(event) == "1970-01-01 00:00:00  end     took 3 min  test/accuracy 0.5"


def test_an_event_of_an_unknown_kind_is_told_whole():
    assert event_text({"t": 0, "event": "link", "step": 5, "number": 2}).endswith("link    step 5  number 2")


@pytest.mark.parametrize("t", [None, "now", True, 1e300, float("nan")])
def test_a_time_that_is_none_leaves_a_gap(t):
    assert event_text({"t": t, "event": "start"}) == " " * 19 + "  start "


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")])
def test_a_duration_is_short(seconds, text):
    assert seconds_text(seconds) == text
