"""What a run shows while it is done, from events with planted times."""

import io
import json
import threading

import pytest
from rich.console import Console

from harness.cli import run_live
from harness.cli.run_live import live_text, shown_live

EVENTS = [
    {"t": 100.0, "event": "start", "step": 0, "total": 120},
    {"t": 102.0, "event": "step", "step": 10, "total": 120},
    {"t": 112.0, "event": "val", "step": 40, "total": 120, "train_loss": 0.56208},
]


@pytest.fixture
def events(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{json.dumps(event)}\n" for event in EVENTS))
    return file


def test_a_run_shows_step_loss_rate_and_time_left(events):
    assert live_text(events) == "step 40 of 120, loss 0.562, 3 steps/s, 27 s left"


def test_before_its_first_step_a_run_is_loading(tmp_path):
    assert live_text(tmp_path / "events.jsonl") == "loading model and data"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_first_sign_comes_at_once_and_more_while_it_lasts(events, monkeypatch, is_terminal):
    said, told = io.StringIO(), threading.Event()
    text = live_text(events)
    monkeypatch.setattr(run_live, "REDRAWN_SECONDS", 0.001)
    monkeypatch.setattr(run_live, "LOGGED_SECONDS", 0.001)
    monkeypatch.setattr(run_live, "live_text", lambda path: told.set() or text)
    with shown_live("abc", events, Console(file=said, force_terminal=is_terminal, width=120)):
        assert "run abc: loading model and data" in said.getvalue() or is_terminal
        assert told.wait(60)
    assert is_terminal or text in said.getvalue()
