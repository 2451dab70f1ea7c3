"""The local launcher: workers that are killed, a run that kills them, a launcher that is interrupted."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.settings import settings_from
from harness.execution import local
from harness.execution.lease import claim, look
from harness.ledger.plan import Plan, read_plan, write_plan
from harness.ledger.store import Store
from harness.planning.plan import read_request
from slurm.sandbox import sleepy

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
from pathlib import Path
from harness.execution import local
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from harness.planning.plan import read_request
from harness.config.settings import settings_from
store = Store(Path(sys.argv[1]))
settings = settings_from(read_request([f"runs={store.root}"]).config)
one = {"processes": 1, "threads": 1}
sys.exit(local.launch(read_plan(store.root, "sleepy"), store, settings, one, runner="slurm.sandbox.sleepy:run"))
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "with a space" / "runs")


def launch(plan, store, processes=1):
    write_plan(store.root, plan)
    settings = settings_from(read_request([f"runs={store.root}"]).config)
    cluster = {"processes": processes, "threads": 1}
    return local.launch(plan, store, settings, cluster, runner="slurm.sandbox.sleepy:run")


def until(ready):
    end = time.monotonic() + 200  # a machine that stands still for a while fails no test
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def starts(store, run_id, what="start"):
    return sleepy.starts(store.paths(run_id), what)


COUNTS = """
from harness.measure.process_history import more_expected
from slurm.sandbox import sleepy
RUNS = []
def run(planned, store, settings, stop):
    RUNS.append(planned.id)
    with open(store.root / "counts", "a") as file:
        file.write(f"{len(RUNS)}{'+' * more_expected()}\\n")
    return sleepy.run(planned, store, settings, stop)
"""


@pytest.mark.parametrize(("isolate", "counts"), [(True, "1 1 1"), (False, "1+ 2+ 3+")])
def test_isolated_runs_are_done_each_by_a_fresh_process_and_others_by_one_that_expects_more(
    store, tmp_path, monkeypatch, isolate, counts
):
    (tmp_path / "counting.py").write_text(COUNTS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    plan = sleepy.plan(4)
    plan = replace(plan, runs=(*plan.runs[:2], *sleepy.plan(4, fail=True).runs[2:3], *plan.runs[3:]))
    write_plan(store.root, plan)
    config = read_request([f"runs={store.root}", f"isolate={str(isolate).lower()}"]).config
    cluster = {"processes": 1, "threads": 1}
    store.paths(plan.ids[3]).folder.mkdir()
    assert sleepy.run(plan.runs[3], store, None, lambda: False).status == "done"  # done before: no process for it
    assert local.launch(plan, store, settings_from(config), cluster, runner="counting:run") == 1
    assert (store.root / "counts").read_text().split() == counts.split()
    assert [store.status(run_id) for run_id in plan.ids] == ["done", "done", "failed", "done"]


def test_a_killed_worker_is_named_and_replaced(store, capfd):
    deadly, good = sleepy.plan(3, crash_once=True), sleepy.plan(3)
    plan = Plan("sleepy", (good.runs[0], deadly.runs[1], good.runs[2]), (), {})
    assert launch(plan, store) == 0
    assert [starts(store, run_id) for run_id in plan.ids] == [1, 2, 1]
    said = capfd.readouterr().err
    assert (
        f"died of SIGKILL (the kernel does that to a process when memory runs out) while it ran {plan.ids[1]}" in said
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_kills_two_workers_is_named_and_left_and_the_others_are_done(store, capfd, processes):
    deadly, good = sleepy.plan(4, die_on="?"), sleepy.plan(4)
    plan = Plan("sleepy", (deadly.runs[0], *good.runs[1:]), (), {})
    assert launch(plan, store, processes) == 1
    assert [store.status(run_id) for run_id in plan.ids] == ["unfinished", "done", "done", "done"]
    said = capfd.readouterr().err
    assert f"{plan.ids[0]} killed 2 workers and is left alone" in said
    assert "1 runs have no record" in said and "The same command goes on from here" in said


def test_a_run_that_another_sweep_does_is_named_with_its_place(store, capfd):
    plan = sleepy.plan(2)
    lease = claim(store.paths(plan.ids[0]).folder)  # by this very process
    assert launch(plan, store) == 1
    said = capfd.readouterr().err
    assert f"{plan.ids[0]} is being done by another sweep" in said and f"process {os.getpid()}" in said
    lease.release()
    assert launch(plan, store) == 0


def test_a_worker_that_cannot_start_is_no_endless_loop_and_its_log_is_named(store, capfd):
    plan = sleepy.plan(1)
    write_plan(store.root, plan)
    settings = settings_from(read_request([f"runs={store.root}"]).config)
    code = local.launch(plan, store, settings, {"processes": 1, "threads": 1}, runner="slurm.sandbox.absent:run")
    assert code == 1 and "workers/sleepy-*.log" in capfd.readouterr().err
    assert "No module named" in (store.root / "workers" / "sleepy-0.log").read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_launcher_waits_for_its_runs_to_save_and_the_same_command_goes_on(store, how):
    plan = sleepy.plan(2, steps=6, hold_at=3)
    write_plan(store.root, plan)
    command = [sys.executable, "-c", LAUNCH, str(store.root)]
    launcher = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    until(lambda: (store.paths(plan.ids[0]).checkpoint / "sleepy.json").exists())
    until(lambda: look(store.paths(plan.ids[0]).folder).holder)
    launcher.send_signal(how)
    said = launcher.communicate(timeout=200)[1]
    assert "each run saves a checkpoint first" in said and launcher.returncode != 0
    assert starts(store, plan.ids[0], "stopped") == 1 and look(store.paths(plan.ids[0]).folder).beat == 0
    (store.root / "go").touch()
    assert launch(plan, store) == 0
    assert [starts(store, run_id, "end") for run_id in plan.ids] == [1, 1]


def test_workers_keep_to_the_plan_they_were_started_with(store):
    """Another shell narrows the same sweep meanwhile: what was begun is still done."""
    wide, narrow = sleepy.plan(3), sleepy.plan(1)
    write_plan(store.root, wide)
    write_plan(store.root, narrow)
    settings = settings_from(read_request([f"runs={store.root}"]).config)
    assert local.launch(wide, store, settings, {"processes": 1, "threads": 1}, runner="slurm.sandbox.sleepy:run") == 0
    assert [store.status(run_id) for run_id in wide.ids] == ["done"] * 3
    assert read_plan(store.root, "sleepy") == narrow
