"""Deciding what to start: a pure function, and the states it decides from."""

import pytest

from harness.execution.queue import is_settled
from harness.execution.reconcile import State, reconcile, scan, set_record_aside
from harness.ledger.errors import PlanError
from harness.ledger.paths import to_json
from harness.ledger.record import CUT_OFF
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


def test_the_quick_look_agrees_with_the_store(store):
    good, bad = sleepy.plan(4), sleepy.plan(1, fail="diverged")
    run_here(good, store)
    run_here(bad, store)
    record = store.paths(good.ids[1]).record
    record.write_bytes(record.read_bytes()[:-3])  # the status line is whole, the file is not
    compact = store.paths(good.ids[2]).record
    compact.write_text(to_json({"status": "done"}, indent=None))
    store.paths("f" * 16).folder.mkdir()
    ids = [*good.ids, "f" * 16, "e" * 16]
    assert {i: state.status for i, state in scan(store, ids).items()} == {i: store.status(i) for i in ids}
    assert scan(store, bad.ids)[bad.ids[0]] == State("failed", "diverged", "asked to fail")


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
