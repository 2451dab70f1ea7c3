"""What a local sweep shows: who is at what on a terminal, a line for each run in a log."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from harness.execution.local_view import SweepView, cell_text, ended_text, running_text
from harness.ledger.plan import Planned
from harness.ledger.quantity import Measured
from harness.ledger.record import Failure
from harness.ledger.store import Store
from slurm.sandbox import sleepy

CHOICES = {"method": "cla", "model": "minilm", "dataset": "digits", "recipe": "quick_text", "seed": 1}
CELL = {"dataset": {"name": "digits", "metric": "accuracy"}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def finished(store, planned, **changes):
    store.paths(planned.id).folder.mkdir(exist_ok=True)
    sleepy.run(planned, store, None, lambda: False)
    return replace(store.read(planned.id), **changes)


def logged(plan, store):
    text = io.StringIO()
    runs = {run.id: run for run in plan.runs}
    with SweepView(runs, store, Console(file=text, width=80)) as view:
        view.show(plan.ids[1:], 2)
        view.end(plan.ids[:1])
        view.show(plan.ids[1:], 1)
    return text.getvalue()


def begun(store, run_id, step, **val):
    store.paths(run_id).folder.mkdir(exist_ok=True)
    event = {"t": 1.0, "event": "val" if val else "step", "step": step, "total": 9, **val}
    store.paths(run_id).events.write_text(json.dumps(event) + "\n")


def test_a_cell_is_named_as_it_was_typed_without_its_recipe():
    assert cell_text(Planned("a", CHOICES, CELL)) == "cla minilm digits seed 1"
    assert cell_text(Planned("a", {**CHOICES, "method.update.rank": 4}, CELL)) == (
        "cla minilm digits method.update.rank=4 seed 1"
    )


def test_an_end_says_score_and_time_and_a_failure_its_reason(store):
    planned = sleepy.plan(1).runs[0]
    run = Planned(planned.id, CHOICES, CELL)
    record = finished(
        store, planned, scores={"test": {"accuracy": Measured(0.91, "share", 9)}}, seconds={"wall": Measured(34.2, "s")}
    )
    assert ended_text(run, record) == "done cla minilm digits seed 1: accuracy 0.91, 34 s"
    assert ended_text(run, replace(record, scores={}, seconds={})) == "done cla minilm digits seed 1"
    failed = replace(record, status="failed", failure=Failure("oom", "train", 3, "no memory\nand more"))
    assert ended_text(run, failed) == f"failed {planned.id} (oom): no memory"


def test_a_running_cell_shows_its_last_score(store):
    run = Planned("a" * 16, CHOICES, CELL)
    begun(store, run.id, 4)
    assert running_text(run, store) == "cla minilm digits seed 1"
    begun(store, run.id, 4, val_accuracy=0.91234)
    assert running_text(run, store) == "cla minilm digits seed 1, accuracy 0.912"


def test_a_log_has_a_line_for_each_run_that_ended_and_no_bar_of_those_that_run(store):
    plan = sleepy.plan(3)
    finished(store, plan.runs[0])
    begun(store, plan.ids[1], 4)
    said = logged(plan, store)
    assert "done none seed 0" in said and "none seed 1" not in said


def test_a_terminal_shows_each_run_that_is_running_and_takes_it_away_when_it_ends(store):
    plan = sleepy.plan(3)
    begun(store, plan.ids[0], 4)
    begun(store, plan.ids[1], 5)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    runs = {run.id: run for run in plan.runs}
    with SweepView(runs, store, console) as view:
        view.show(plan.ids[:2], 2)
        rows = [task.description for task in view._bar.tasks]
        assert rows == ["0 done, 2 running", "none seed 0", "none seed 1"]
        assert [task.completed for task in view._bar.tasks] == [pytest.approx(1.0), 4, 5]
        finished(store, plan.runs[0])
        view.end(plan.ids[:1])
        view.show(plan.ids[1:2], 1)
        assert [task.description for task in view._bar.tasks] == ["1 done, 1 running", "none seed 1"]
