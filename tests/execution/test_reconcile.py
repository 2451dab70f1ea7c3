"""Deciding what to start: a pure function, and the states it decides from."""

import json

import pytest

from analysis.flatten import read_flat
from harness.execution.jobs import Queue
from harness.execution.queue import is_settled, work
from harness.execution.reconcile import reconcile, scan, set_record_aside
from harness.execution.sweep_state import survey
from harness.ledger.errors import PlanError, RecordError
from harness.ledger.plan import Plan
from harness.ledger.record import CUT_OFF
from harness.ledger.state import State
from harness.ledger.store import Store
from slurm.sandbox import sleepy


def run_here(plan, store):
    for run in plan.runs:
        store.paths(run.id).folder.mkdir(parents=True, exist_ok=True)
        sleepy.run(run, store, None, lambda: False)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_only_what_is_missing_and_not_alive_is_started():
    plan = sleepy.plan(6)
    kinds = ["absent", "unfinished", "done", "failed", "damaged", "absent"]
    states = {i: State(kind, "diverged" if kind == "failed" else "") for i, kind in zip(plan.ids, kinds, strict=True)}
    todo = reconcile(plan, states, alive=[plan.ids[5], plan.ids[2]])
    assert todo.start == (plan.ids[0], plan.ids[1], plan.ids[4])
    assert todo.alive == (plan.ids[5],)
    assert todo.settled == (plan.ids[2], plan.ids[3])


@pytest.mark.parametrize("kind", CUT_OFF)
def test_a_run_cut_off_from_outside_is_started_again(kind):
    plan = sleepy.plan(1)
    assert reconcile(plan, {plan.ids[0]: State("failed", kind)}, alive=[]).start == plan.ids


def test_a_silent_scheduler_is_not_an_empty_queue():
    plan = sleepy.plan(1)
    with pytest.raises(PlanError, match="did not answer"):
        reconcile(plan, {plan.ids[0]: State("absent")}, alive=None)


def odd(record, **facts):
    record.write_text(json.dumps(json.loads(record.read_text()) | facts, indent=2) + "\n")


ODD = {
    "cut": lambda record: record.write_bytes(record.read_bytes()[:-3]),
    "empty": lambda record: record.write_bytes(b""),
    "not UTF-8": lambda record: record.write_bytes(record.read_bytes().replace(b"none", b"n\xffne", 1)),
    "a list": lambda record: record.write_text("[]"),
    "the status alone": lambda record: record.write_text('{"status": "done"}'),
    "no schema": lambda record: odd(record, schema=None),
    "a key more": lambda record: odd(record, colour="red"),
    "scores of another shape": lambda record: odd(record, scores=[3]),
    "a value of another type": lambda record: odd(record, seconds={"wall": {"value": "long", "unit": "s", "n": 1}}),
    "an unknown status": lambda record: odd(record, status="banana"),
    "done, with a failure": lambda record: odd(record, failure={"kind": "oom", "phase": "", "step": 0, "message": ""}),
    "failed, without one": lambda record: odd(record, status="failed"),
    "deeply nested": lambda record: record.write_text("[" * 100_000),
    "a folder": lambda record: (record.unlink(), record.mkdir()),
}


@pytest.mark.parametrize("damage", ODD.values(), ids=ODD)
def test_an_odd_record_is_damaged_for_every_reader_and_its_run_is_done_again_as_are_the_others(store, damage):
    plan = sleepy.plan(3)
    run_here(Plan(plan.name, plan.runs[:2], (), {}), store)
    damage(store.paths(plan.ids[0]).record)
    assert [store.status(run_id) for run_id in plan.ids] == ["damaged", "done", "absent"]
    assert [state.status for state in scan(store, plan.ids).values()] == ["damaged", "done", "absent"]
    assert read_flat(store.paths(plan.ids[0]).record)[0]["status"] == "damaged"
    assert [record.id for record in store.records()] == [plan.ids[1]]
    with pytest.raises(RecordError):
        store.read(plan.ids[0])
    assert [row.stage for row in survey(plan, store, Queue()).rows] == ["damaged", "done", "missing"]
    assert work(plan.ids, plan, store, lambda run, held: sleepy.run(run, held, None, lambda: False), stop=bool) == []
    assert [store.status(run_id) for run_id in plan.ids] == ["done"] * 3
    assert store.paths(plan.ids[0]).folder.joinpath("record.json.damaged").exists()


def test_a_record_of_a_newer_version_settles_its_run_for_every_reader_and_costs_no_other(store):
    plan = sleepy.plan(2)
    run_here(Plan(plan.name, plan.runs[:1], (), {}), store)
    odd(store.paths(plan.ids[0]).record, schema=99, colour="red")
    before = store.paths(plan.ids[0]).record.read_bytes()
    assert is_settled(store, plan.ids[0]) and scan(store, plan.ids)[plan.ids[0]].settled
    assert work(plan.ids, plan, store, lambda run, held: sleepy.run(run, held, None, lambda: False), stop=bool) == []
    assert store.paths(plan.ids[0]).record.read_bytes() == before and store.status(plan.ids[1]) == "done"


def test_a_file_in_place_of_a_runs_folder_is_kept_aside(store):
    plan = sleepy.plan(2)
    store.paths(plan.ids[0]).folder.write_text("no folder")
    assert [row.stage for row in survey(plan, store, Queue()).rows] == ["damaged", "missing"]
    assert work(plan.ids, plan, store, lambda run, held: sleepy.run(run, held, None, lambda: False), stop=bool) == []
    assert [store.status(run_id) for run_id in plan.ids] == ["done"] * 2
    assert (store.root / f"{plan.ids[0]}.damaged").read_text() == "no folder"


def test_an_exception_that_escapes_one_run_does_not_cost_the_others(store):
    plan = sleepy.plan(3)

    def escapes(run, held):
        if run.id == plan.ids[0]:
            raise RecursionError("deep")
        return sleepy.run(run, held, None, lambda: False)

    assert work(plan.ids, plan, store, escapes, stop=lambda: False) == [plan.ids[0]]
    assert [store.status(run_id) for run_id in plan.ids] == ["unfinished", "done", "done"]


def test_a_run_ends_once(store):
    plan = sleepy.plan(1)
    run_here(plan, store)
    before = store.paths(plan.ids[0]).record.read_bytes()
    with pytest.raises(RecordError, match="has its record already"):
        run_here(plan, store)
    assert store.paths(plan.ids[0]).record.read_bytes() == before


def test_both_ways_to_ask_whether_a_run_is_settled_agree(store):
    for kind in ("node", "oom"):
        plan = sleepy.plan(1, fail=kind)
        run_here(plan, store)
        assert scan(store, plan.ids)[plan.ids[0]].settled is is_settled(store, plan.ids[0]) is (kind == "oom")


def test_a_record_set_aside_is_kept_and_never_overwrites_an_older_one(store):
    plan = sleepy.plan(1, fail="oom")
    for _ in range(3):
        run_here(plan, store)
        set_record_aside(store, plan.ids[0], "failed")
    kept = sorted(path.name for path in store.paths(plan.ids[0]).folder.glob("record.*"))
    assert kept == ["record.failed.json", "record.failed1.json", "record.failed2.json"]
