"""Workers that are suspended at the worst moment, taken over, and wake up: a run ends once, and the right one ends it.

They are real processes, stopped by a signal they send themselves at the point in question; nothing depends on the time.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.execution.lease import Lease, claim, look
from harness.execution.queue import work
from harness.execution.reconcile import set_record_aside
from harness.ledger.plan import write_plan
from harness.ledger.store import Store
from slurm.sandbox import sleepy

REPOSITORY = Path(__file__).resolve().parents[2]
# A worker that stops itself before (or after) the call of os.link that publishes its record.
STOPPED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from harness.execution.worker import main
from harness.ledger import paths
link, when = os.link, sys.argv.pop(1)
def linked(part, path):
    record = Path(path).name == "record.json"
    if record and when == "before": os.kill(os.getpid(), signal.SIGSTOP)
    link(part, path)
    if record and when == "after": os.kill(os.getpid(), signal.SIGSTOP)
paths.os.link = linked
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def start(store, plan, *command):
    write_plan(store.root, plan)
    words = [sys.executable, *command, "--runs", str(store.root), "--plan", plan.address]
    words += ["--runner", "slurm.sandbox.sleepy:run"]
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(ready):
    end = time.monotonic() + 200  # a machine that stands still for a while fails no test
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def is_stopped(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def age(folder):
    """As if the holder's heart had stood still for long."""
    os.utime(Lease(folder, look(folder).generation).path, (1, 1))


def go_on(process):
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=200)
    return output


def here(plan, store, run_one=None):
    run_one = run_one or (lambda run, held: sleepy.run(run, held, None, lambda: False))
    return work(plan.ids, plan, store, run_one, stop=lambda: False)


def test_the_number_of_a_new_lease_does_not_make_an_old_holder_valid_again(store):
    """A is suspended, B takes over and fails, the failure is retried, C begins with A's number, A goes on."""
    plan, fails = sleepy.plan(1, steps=6, hold_at=3), sleepy.plan(1, steps=6, fail="diverged")
    folder = store.paths(plan.ids[0]).folder
    first = start(store, plan, "-m", "harness.execution.worker")
    state = store.paths(plan.ids[0]).checkpoint / "sleepy.json"
    until(lambda: state.exists() and json.loads(state.read_text())[0] == 3)
    first.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(first))
    age(folder)
    assert here(fails, store) == list(plan.ids), "B"
    set_record_aside(store, plan.ids[0], "failed")

    def third(run, held):
        assert look(folder).generation == 1, "C has A's number"
        assert "taken it over" in go_on(first)
        assert store.status(run.id) == "unfinished" and look(folder).beat > 0 and held.lease.still_mine()
        return sleepy.run(run, held, None, lambda: False)

    assert here(plan, store, third) == []
    assert store.status(plan.ids[0]) == "done"
    assert sleepy.starts(store.paths(plan.ids[0]), "end") == 1


@pytest.mark.parametrize("other_ends", [True, False])
def test_one_that_is_suspended_between_its_last_check_and_its_record_publishes_nothing_after(store, other_ends):
    plan = sleepy.plan(1)
    folder = store.paths(plan.ids[0]).folder
    first = start(store, plan, "-c", STOPPED_AT_THE_END, "before")
    until(lambda: is_stopped(first))
    assert store.status(plan.ids[0]) == "unfinished"
    age(folder)
    if other_ends:
        assert here(plan, store) == []
        before = store.paths(plan.ids[0]).record.read_bytes()
        assert "taken it over" in go_on(first)
        assert store.paths(plan.ids[0]).record.read_bytes() == before
        assert sleepy.starts(store.paths(plan.ids[0]), "end") == 1
    else:
        lease = claim(folder)
        assert "taken it over" in go_on(first)
        assert store.status(plan.ids[0]) == "unfinished" and lease.still_mine()
    assert not list(folder.glob(".*.part"))


def test_one_that_is_suspended_after_its_record_was_published_has_ended_the_run(store):
    plan = sleepy.plan(1)
    first = start(store, plan, "-c", STOPPED_AT_THE_END, "after")
    until(lambda: is_stopped(first))
    age(store.paths(plan.ids[0]).folder)
    assert here(plan, store) == [], "it is settled: nothing to do"
    assert sleepy.starts(store.paths(plan.ids[0])) == 1
    go_on(first)
    assert store.status(plan.ids[0]) == "done"
    assert not list(store.root.glob("*/lease.*"))


def test_an_old_holders_heartbeat_and_release_do_not_touch_the_lease_of_another(store):
    folder = store.paths("a" * 16).folder
    first = claim(folder)
    age(folder)
    first.path.write_text(first.path.read_text().replace(str(os.getpid()), "1"))  # as if on another machine
    age(folder)
    second = claim(folder)
    second.remove()
    third = claim(folder)
    assert third.generation == first.generation and third.still_mine() and not first.still_mine()
    os.utime(third.own, (5, 5))
    with pytest.raises(FileNotFoundError):
        first.beat()
    first.release()
    first.remove()
    assert look(folder).beat == 5 and third.still_mine()


GARBAGE = {
    "not UTF-8": b'{"host": "\xff"}',
    "a list": b"[]",
    "a key more": b'{"host": "n", "colour": 1}',
    "other types": b'{"host": 1, "boot": 2, "pid": "x", "started": 0, "job": 1, "restart": "2", "nonce": null}',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_garbage_lease_is_held_until_it_is_old_and_costs_no_other_run(store, content):
    plan = sleepy.plan(2)
    folder = store.paths(plan.ids[0]).folder
    folder.mkdir(parents=True)
    (folder / "lease.4").write_bytes(content)
    assert here(plan, store) == []
    assert [store.status(run_id) for run_id in plan.ids] == ["unfinished", "done"]
    age(folder)
    assert here(plan, store) == []
    assert store.status(plan.ids[0]) == "done"


def test_a_folder_in_place_of_a_lease_or_of_a_runs_files_is_kept_aside(store):
    plan = sleepy.plan(1)
    folder = store.paths(plan.ids[0])
    for name in ("lease.1", "events.jsonl", "run.log", "predictions.parquet"):
        (folder.folder / name).mkdir(parents=True)
        (folder.folder / name / "file").touch()
    folder.checkpoint.write_text("no folder")
    age(folder.folder)
    assert here(plan, store) == []
    assert store.status(plan.ids[0]) == "done" and folder.events.is_file()
    kept = {path.name.partition("lease")[0] or path.name for path in folder.folder.iterdir() if "damaged" in path.name}
    assert kept == {
        "damaged.", "events.jsonl.damaged", "run.log.damaged", "predictions.parquet.damaged", "checkpoint.damaged",
    }  # fmt: skip


def test_a_store_that_is_moved_while_its_runs_are_done_is_noticed_and_no_ghost_is_left(store):
    plan = sleepy.plan(3, steps=2, hold_at=1)
    worker = start(store, plan, "-m", "harness.execution.worker")
    until(lambda: (store.paths(plan.ids[0]).checkpoint / "sleepy.json").exists())
    moved = store.root.with_name("elsewhere")
    store.root.rename(moved)
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=200)
    assert not store.root.exists() or not list(store.root.iterdir()), output
    assert Store(moved).status(plan.ids[0]) == "unfinished"


def test_a_store_that_is_replaced_by_another_is_not_written_to(store):
    plan = sleepy.plan(2)
    ended = []

    def replaced(run, held):
        record = sleepy.run(run, held, None, lambda: False)
        ended.append(run.id)
        store.root.rename(store.root.with_name("elsewhere"))
        Store(store.root).identity()
        return record

    with pytest.raises(Exception, match="moved or replaced"):
        here(plan, store, replaced)
    assert ended == [plan.ids[0]] and not (store.root / plan.ids[1]).exists()
