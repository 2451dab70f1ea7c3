"""Diagnoses in several processes, with a stand-in for what is measured: no torch is loaded here."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest

from harness.diagnostics import diagnose as module
from harness.diagnostics.questions import Diagnosis, Unanswered
from harness.ledger.errors import NodeError
from harness.measure import process_history

RUNS = [Unanswered(f"{number:016x}", ("bounds", "geometry"), {}) for number in range(3)]


def _says_its_threads(todo, store, settings):
    return [Diagnosis(todo.run_id, kind, "measured", os.environ["OMP_NUM_THREADS"]) for kind in todo.kinds]


def _is_killed(todo, store, settings):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def side_by_side(monkeypatch):
    def run(stand_in):
        monkeypatch.setattr(module, "_of_run", stand_in)
        monkeypatch.setattr(module, "sort_out", lambda *_: ([Diagnosis("f" * 16, "bounds", "there")], RUNS))
        return list(module.diagnose([], None, None, ["bounds"], {}, processes=2, threads=3))

    return run


def test_each_run_is_measured_once_with_the_threads_of_its_process(side_by_side, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    outcomes = side_by_side(_says_its_threads)
    assert outcomes[0].state == "there"
    assert {(outcome.run_id, outcome.kind) for outcome in outcomes[1:]} == {
        (t.run_id, k) for t in RUNS for k in t.kinds
    }
    assert {outcome.why for outcome in outcomes[1:]} == {"3"} and os.environ["OMP_NUM_THREADS"] == "1"


def test_a_process_that_is_killed_is_one_sentence(side_by_side):
    with pytest.raises(NodeError, match=r"killed.*cluster\.processes=1"):
        side_by_side(_is_killed)


def test_a_process_that_measures_several_runs_expects_them_and_keeps_what_serves_all(monkeypatch):
    stand_in = SimpleNamespace(measured=lambda *_: [process_history.more_expected()])
    monkeypatch.setitem(sys.modules, "harness.diagnostics.one_run", stand_in)
    monkeypatch.setattr(process_history, "_more", False)
    for runs in (RUNS[:1], RUNS):
        monkeypatch.setattr(module, "sort_out", lambda *_, runs=runs: ([], runs))
        assert list(module.diagnose([], None, None, ["bounds"], {})) == [len(runs) > 1] * len(runs)
    monkeypatch.setattr(process_history, "_more", False)
    assert module._of_run(RUNS[0], None, None) == [True]
