"""The line on stderr of a command that takes a while."""

import io
import threading
from contextlib import redirect_stderr

import pytest

from harness.ledger import life
from harness.ledger.life import shown
from tests.terminal import on_terminal

GONE = "\r\033[K"


@pytest.fixture
def now(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(life.time, "monotonic", lambda: clock[0])
    return clock


def test_on_a_terminal_each_word_takes_the_place_of_the_last_and_nothing_stays():
    with on_terminal() as stream:
        with shown("loading", clock=False) as say:
            assert stream.getvalue() == f"{GONE}loading"
            say("round 1 of 2")
            assert stream.getvalue().endswith(f"{GONE}round 1 of 2")
        assert stream.getvalue().endswith(GONE)


def test_the_line_is_gone_before_the_sentence_of_an_error():
    with on_terminal() as stream:
        with pytest.raises(ValueError), shown("loading"):
            raise ValueError
        assert stream.getvalue().endswith(GONE)


def test_a_line_is_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with on_terminal() as stream, shown("x" * 60, clock=False):
        assert stream.getvalue() == f"{GONE}{'x' * 38}…"


def goes_round_once(monkeypatch) -> threading.Event:
    """An end that comes after one turn of the hand."""
    over, waits = threading.Event(), iter([False, True])
    monkeypatch.setattr(over, "wait", lambda seconds: next(waits))
    return over


def test_words_that_stand_get_their_seconds(monkeypatch, now):
    with on_terminal() as stream:
        line = life._Line()
        line.say("loading")
        now[0] += 75
        line.tick(goes_round_once(monkeypatch))
    assert stream.getvalue().endswith(f"{GONE}loading (75 s)")


def test_words_that_have_just_been_said_are_not_said_again(monkeypatch, now):
    with on_terminal() as stream:
        line = life._Line()
        line.say("loading")
        line.tick(goes_round_once(monkeypatch))
    assert stream.getvalue() == f"{GONE}loading"


def test_a_log_has_a_plain_line_each_half_minute_and_nothing_else(monkeypatch, now):
    """Of what is told, and of words that stand."""
    with redirect_stderr(io.StringIO()) as log:
        line = life._Line()
        for words, seconds in (("round 1", 0), ("round 2", 31), ("round 3", 5)):
            now[0] += seconds
            line.say(words)
        now[0] += 26
        line.tick(goes_round_once(monkeypatch))
        line.clear()
    assert log.getvalue() == "round 2\nround 3 (26 s)\n"


def test_no_thread_runs_where_none_is_wanted_nor_afterwards():
    before = threading.active_count()
    with on_terminal():
        with shown("loading", clock=False):
            assert threading.active_count() == before
        with shown("loading"):
            assert threading.active_count() == before + 1
    assert threading.active_count() == before
