"""How far a number of things is."""

import io
from contextlib import redirect_stderr

from harness.ledger import life
from harness.planning.counted import counted
from tests.terminal import on_terminal


def test_a_terminal_has_a_bar_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with on_terminal() as stream, counted("counting", 2) as one_more:
        one_more()
        one_more()
    assert "counting" in stream.getvalue() and "100%" in stream.getvalue()
    assert stream.getvalue().endswith("\033[2K")  # the line is empty again


def test_a_log_has_the_words_and_the_number(monkeypatch):
    told = []
    monkeypatch.setattr(life._Line, "say", lambda line, words: told.append(words))
    with redirect_stderr(io.StringIO()), counted("counting", 2) as one_more:
        one_more()
        one_more()
    assert told == ["counting: 0 of 2", "counting: 1 of 2", "counting: 2 of 2"]
