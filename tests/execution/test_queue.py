"""Working through a list of runs: with real worker processes that are killed, doubled, stopped and starved of disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.execution.lease import Lease, LeaseLost, claim
from harness.execution.queue import LeasedStore, work
from harness.execution.shared_device import not_comparable
from harness.ledger.events import last_event
from harness.ledger.plan import write_plan
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.run import run_one
from slurm.sandbox import sleepy

REPOSITORY = Path(__file__).resolve().parents[2]


def start_worker(store, plan, *ids):
    write_plan(store.root, plan)
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(store.root), "--plan", plan.name]
    command += ["--runner", "slurm.sandbox.sleepy:run", *ids]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def starts(store, run_id, what="start"):
    log = store.paths(run_id).folder / "starts.log"
    return [line for line in log.read_text().splitlines() if line.startswith(what + " ")] if log.exists() else []


def waits_at(store, run_id, step):
    """The step's checkpoint is there, and its event, which is written after it."""
    last = last_event(store.paths(run_id).events, "step")
    return last is not None and last["step"] == step


def scores(store, plan):
    return {run.id: store.read(run.id).scores["test"]["accuracy"].value for run in plan.runs}


def until(ready):
    end = time.monotonic() + 200  # a machine that stands still for a while fails no test
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def here(plan, store, stop=lambda: False):
    """The same work in this process."""
    return work(plan.ids, plan, store, lambda one, held: sleepy.run(one, held, None, stop), stop=stop)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def test_every_run_is_done_once_and_a_second_call_does_nothing(store):
    plan = sleepy.plan(4)
    assert here(plan, store) == []
    assert here(plan, store) == []
    assert [len(starts(store, run_id)) for run_id in plan.ids] == [1, 1, 1, 1]
    assert not list(store.root.glob("*/lease.*")), "a run with a record needs no lease"


def test_a_failed_run_is_named_and_does_not_end_the_others(store):
    good, bad = sleepy.plan(3), sleepy.plan(1, fail="diverged")
    assert work(bad.ids, bad, store, lambda one, held: sleepy.run(one, held, None, lambda: False), stop=lambda: False)
    assert here(good, store) == [], "a failed record of before is no failure of this call"
    assert [store.status(run_id) for run_id in good.ids] == ["failed", "done", "done"]


def test_two_workers_on_one_list_share_it(store):
    plan = sleepy.plan(8, steps=2, hold_at=1)
    workers = [start_worker(store, plan), start_worker(store, plan)]
    until(lambda: all(waits_at(store, run_id, 1) for run_id in plan.ids[:2]))
    (store.root / "go").touch()
    assert [finish(worker)[0] for worker in workers] == [0, 0]
    began = [starts(store, run_id) for run_id in plan.ids]
    assert [len(lines) for lines in began] == [1] * 8
    assert len(Counter(line.split()[1] for (line,) in began)) == 2, "both took part"


def test_a_killed_worker_loses_no_run_and_changes_no_score(store, tmp_path):
    plan = sleepy.plan(3, steps=5, hold_at=2)
    worker = start_worker(store, plan)
    until(lambda: waits_at(store, plan.ids[0], 2))
    worker.kill()
    finish(worker)
    (store.root / "go").touch()
    assert store.status(plan.ids[0]) == "unfinished"
    assert finish(start_worker(store, plan))[0] == 0
    undisturbed = Store(tmp_path / "undisturbed")
    here(sleepy.plan(3, steps=5), undisturbed)
    assert scores(store, plan) == scores(undisturbed, plan)
    events = [json.loads(line) for line in store.paths(plan.ids[0]).events.read_text().splitlines()]
    assert [event["step"] for event in events] == [1, 2, 3, 4, 5], "it went on from its checkpoint"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_for_a_checkpoint_and_an_end_of_its_own(store, how):
    plan = sleepy.plan(2, steps=4, hold_at=2)
    worker = start_worker(store, plan)
    until(lambda: waits_at(store, plan.ids[0], 2))
    for _ in range(20):  # a handler that interrupts a handler must not wait for it
        worker.send_signal(how)
    code, output = finish(worker)
    assert code == 75 and f"{plan.ids[0]} stopped" in output
    assert store.status(plan.ids[0]) == "unfinished" and store.status(plan.ids[1]) == "absent"
    assert claim(store.paths(plan.ids[0]).folder) is not None, "the next worker need not wait"


def test_a_worker_that_was_taken_over_writes_nothing(store):
    plan = sleepy.plan(1)
    folder = store.paths(plan.ids[0]).folder

    def run_one(planned, held):
        os.utime(Lease(folder, 1).path, (0, 0))  # as if its heart had stood still
        assert claim(folder) is not None
        return sleepy.run(planned, held, None, lambda: False)

    assert work(plan.ids, plan, store, run_one, stop=lambda: False) == []
    assert store.status(plan.ids[0]) == "unfinished"


def files_of(folder):
    """What a run's folder holds, apart from what its processes say."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}


def test_a_suspended_worker_that_was_taken_over_meanwhile_wakes_up_and_writes_nothing(store):
    plan = sleepy.plan(1, steps=6, hold_at=3)
    folder = store.paths(plan.ids[0]).folder
    first = start_worker(store, plan)
    until(lambda: waits_at(store, plan.ids[0], 3))
    first.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    os.utime(Lease(folder, 1).path, (1, 1))  # as if it had stood still for long
    assert finish(start_worker(store, plan))[0] == 0
    before = files_of(folder)
    first.send_signal(signal.SIGCONT)
    code, output = finish(first)
    assert code == 0 and "taken it over" in output
    assert files_of(folder) == before and len(starts(store, plan.ids[0], "end")) == 1


@pytest.mark.slow
def test_a_real_run_that_was_taken_over_leaves_the_new_owners_files_alone(store, peftlab_cache):
    words = ("model=vit_micro", "dataset=digits", "method=head", "recipe.max_steps=6", "recipe.evaluations=1")
    words += ("tracker=none", "device=cpu", "checkpoint_seconds=0", f"runs={store.root}", f"cache={peftlab_cache}")
    request = read_request(words)
    planned, settings = plan_one(request, Resolver()), settings_from(request.config)
    folder, asked, before = store.paths(planned.id).folder, [], {}

    def taken_over_at_the_third_step():
        asked.append(True)
        if len(asked) == 3:
            os.utime(Lease(folder, 1).path, (0, 0))
            claim(folder)
            (folder / "checkpoint" / "step-4").mkdir()  # the new owner is further
            (folder / "checkpoint" / "step-4" / "theirs").touch()
            before.update({path: data for path, data in files_of(folder).items() if path.name != "events.jsonl"})
        return False

    with pytest.raises(LeaseLost):
        run_one(planned, LeasedStore(store.root, claim(folder)), settings, stop=taken_over_at_the_third_step)
    assert {path: data for path, data in files_of(folder).items() if path.name != "events.jsonl"} == before


def test_a_store_without_its_lease_refuses_to_write(store):
    plan = sleepy.plan(1)
    lease = claim(store.paths(plan.ids[0]).folder)
    lease.release()
    claim(store.paths(plan.ids[0]).folder)
    with pytest.raises(LeaseLost, match="taken it over"):
        sleepy.run(plan.runs[0], LeasedStore(store.root, lease), None, lambda: False)


def test_a_truncated_record_is_kept_aside_and_the_run_done_again(store):
    plan = sleepy.plan(1)
    here(plan, store)
    record = store.paths(plan.ids[0]).record
    whole = record.read_bytes()
    record.write_bytes(whole[: len(whole) // 2])
    here(plan, store)
    assert store.status(plan.ids[0]) == "done"
    assert record.with_name("record.json.damaged").read_bytes() == whole[: len(whole) // 2]


def test_a_run_cut_off_from_outside_goes_on_and_one_that_failed_by_itself_does_not(store):
    for kind, again in (("node", True), ("diverged", False)):
        plan = sleepy.plan(1, fail=kind, name=kind)
        here(plan, store)
        before = len(starts(store, plan.ids[0]))
        here(plan, store)
        assert (len(starts(store, plan.ids[0])) > before) is again
        store.paths(plan.ids[0]).record.unlink()


def test_an_id_that_the_plan_no_longer_has_is_left_out(store):
    plan = sleepy.plan(2)
    code, output = finish(start_worker(store, plan, "f" * 16, plan.ids[1]))
    assert code == 0 and "no longer in the plan" in output
    assert [store.status(run_id) for run_id in plan.ids] == ["absent", "done"]


def test_a_full_disk_leaves_the_run_unfinished_and_the_exit_code_says_so(small_disk):
    store, plan = Store(small_disk / "runs"), sleepy.plan(3)
    write_plan(store.root, plan)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            os.write(file.fileno(), bytes(4096))
    code, output = finish(start_worker_as_planned(store, plan))
    assert code == 1 and "No space left" in output
    assert {store.status(run_id) for run_id in plan.ids} <= {"absent", "unfinished"}
    ballast.unlink()
    assert finish(start_worker_as_planned(store, plan))[0] == 0
    assert len(scores(store, plan)) == 3


def start_worker_as_planned(store, plan):
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(store.root), "--plan", plan.name]
    command += ["--runner", "slurm.sandbox.sleepy:run"]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no small tmpfs here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_runs_that_shared_a_device_keep_their_score_and_lose_their_timings(store):
    plan = sleepy.plan(1)
    here(plan, store)
    memory = {name: Measured(8.0, "byte") for name in ("train_peak_device", "eval_peak_device", "train_peak_allocated")}
    marked = not_comparable(replace(store.read(plan.ids[0]), memory=memory), 2)
    assert [name for name, quantity in marked.memory.items() if isinstance(quantity, Measured)] == [
        "train_peak_allocated"
    ]
    assert isinstance(marked.scores["test"]["accuracy"], Measured)
    assert all(isinstance(quantity, NotMeasured) and "2 runs" in quantity.why for quantity in marked.seconds.values())
    assert "not comparable" in marked.notes[-1]
