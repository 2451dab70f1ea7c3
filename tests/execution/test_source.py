"""Runs that start from a run: the source first, whoever works; killed, held elsewhere, failed and tried again."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.execution.lease import claim
from harness.execution.queue import work
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, lineage, read_plan, write_plan
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training import run as training
from methods.spec import LowRank
from slurm.sandbox import sleepy

REPOSITORY = Path(__file__).resolve().parents[2]


def family(**source_recipe):
    """A run and three that start from it, as a plan."""
    runs = sleepy.plan(4, steps=3).runs
    source = sleepy.plan(1, steps=3, **source_recipe).runs[0]
    targets = [replace(run, source=source.id, spec=run.spec | {"source": source.spec}) for run in runs[1:]]
    return Plan("family", (source, *targets), (), {})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def here(plan, store, ids=None):
    def run_one(planned, leased):
        return sleepy.run(planned, leased, None, lambda: False)

    return work(ids or plan.ids, plan, store, run_one, stop=lambda: False)


def start_worker(store, plan, *ids):
    write_plan(store.root, plan)
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(store.root), "--plan", plan.name]
    command += ["--runner", "slurm.sandbox.sleepy:run", *ids]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(ready):
    end = time.monotonic() + 200  # a machine that stands still for a while fails no test
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def when(store, run, what):
    lines = (store.paths(run).folder / "starts.log").read_text().splitlines()
    return [float(line.split()[2]) for line in lines if line.startswith(what + " ")]


def holds(store, run, step):
    state = store.paths(run).checkpoint / "sleepy.json"
    return state.exists() and json.loads(state.read_text())[0] == step


def assert_source_was_first(store, plan):
    source, *targets = plan.ids
    assert [store.status(run) for run in plan.ids] == ["done"] * 4
    (ended,) = when(store, source, "end")
    assert all(when(store, run, "start")[0] >= ended for run in targets)
    assert [sleepy.starts(store.paths(run), "end") for run in plan.ids] == [1] * 4


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 3), (2, 0, 1, 3)])
def test_the_source_is_done_first_in_whatever_order_runs_are_given(store, order):
    plan = family()
    assert here(plan, store, [plan.ids[i] for i in order]) == []
    assert_source_was_first(store, plan)


def test_a_worker_killed_in_the_source_leaves_it_to_the_next(store):
    plan = family(hold_at=2)
    worker = start_worker(store, plan, *reversed(plan.ids))
    until(lambda: holds(store, plan.ids[0], 2))
    worker.kill()
    worker.communicate()
    assert [store.status(run) for run in plan.ids] == ["unfinished", "absent", "absent", "absent"]
    assert here(plan, store) == []
    assert_source_was_first(store, plan)


def test_a_target_waits_while_another_process_is_at_its_source(store):
    plan = family(hold_at=2)
    first = start_worker(store, plan, plan.ids[0])
    until(lambda: holds(store, plan.ids[0], 2))
    second = start_worker(store, plan, *plan.ids[1:])
    time.sleep(0.2)
    assert [store.status(run) for run in plan.ids[1:]] == ["absent"] * 3 and second.poll() is None
    (store.root / "go").touch()
    assert [worker.wait(200) for worker in (first, second)] == [0, 0]
    assert_source_was_first(store, plan)


def test_while_its_source_is_held_a_worker_does_its_other_runs(store):
    plan, other = family(), replace(sleepy.plan(9).runs[8])
    plan = replace(plan, runs=(*plan.runs, other))
    lease = claim(store.paths(plan.ids[0]).folder)
    worker = threading.Thread(target=here, args=(plan, store))
    worker.start()
    until(lambda: store.status(other.id) == "done")
    assert [store.status(run) for run in plan.ids[1:4]] == ["absent"] * 3
    lease.release()
    worker.join(200)
    assert_source_was_first(store, replace(plan, runs=plan.runs[:4]))


def test_a_failed_source_fails_its_targets_by_name_and_its_retry_frees_them(store, capsys):
    plan = family(fail_once="diverged")
    write_plan(store.root, plan)
    source, *targets = plan.ids
    assert sorted(here(plan, store)) == sorted(plan.ids)
    for run in targets:
        failure = store.read(run).failure
        assert failure.kind == "source" and failure.message == f"source run {source} failed: asked to fail"
        assert sleepy.starts(store.paths(run)) == 0, "it never began"
    assert here(plan, store) == [], "what failed stays so until it is asked for again"
    assert main(["retry", source, "--runs", str(store.root), "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["retried"]) == sorted(plan.ids)
    assert here(plan, store) == []
    assert_source_was_first(store, plan)


def test_targets_of_targets_fail_and_are_freed_alike(store, capsys):
    first, second, third, _ = family(fail_once="oom").runs
    third = replace(third, source=second.id)
    plan = Plan("line", (first, second, third), (), {})
    write_plan(store.root, plan)
    here(plan, store, [third.id])
    assert [store.read(run).failure.kind for run in plan.ids] == ["oom", "source", "source"]
    assert main(["retry", "--failed", "oom", "line", "--runs", str(store.root), "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["retried"]) == sorted(plan.ids)
    assert here(plan, store) == [] and [store.status(run) for run in plan.ids] == ["done"] * 3


def test_a_source_cut_off_from_outside_is_no_failure_of_its_targets(store):
    plan = family(fail="node")
    assert here(plan, store)
    assert [store.status(run) for run in plan.ids] == ["failed", "absent", "absent", "absent"]


def test_a_source_that_cannot_be_recorded_leaves_its_targets_missing(store):
    plan = family()

    def full_disk(planned, leased):
        raise OSError("No space left on device")

    assert sorted(work(plan.ids, plan, store, full_disk, stop=lambda: False)) == sorted(plan.ids)
    assert [store.status(run) for run in plan.ids] == ["unfinished", "absent", "absent", "absent"]


def test_a_plan_keeps_its_sources_through_its_file(store):
    plan = family()
    write_plan(store.root, plan)
    assert read_plan(store.root, "family") == plan


@pytest.mark.slow
def test_a_real_run_is_told_where_its_source_left_its_adapter(store, peftlab_cache, monkeypatch):
    monkeypatch.setattr(LowRank, "starts_from_run", True, raising=False)
    words = ["model=vit_micro", "dataset=digits", "method=lora", "source.method=lora", "source.method.update.rank=4"]
    words += ["recipe.max_steps=2", "recipe.evaluations=1", "tracker=none", "device=cpu"]
    request = read_request([*words, f"runs={store.root}", f"cache={peftlab_cache}"])
    planned, settings = plan_one(request, Resolver()), settings_from(request.config)
    plan, seen, profile = Plan("", lineage(planned), (), {}), {}, training.profile_first_step

    def look(context, optimizer):
        seen[context.folder.id] = context.source and sorted(os.listdir(context.source))
        return profile(context, optimizer)

    monkeypatch.setattr(training, "profile_first_step", look)
    assert work([planned.id], plan, store, lambda one, leased: training.run_one(one, leased, settings), stop=bool) == []
    assert seen == {planned.source: None, planned.id: ["facts.json", "state.safetensors"]}
    record = store.read(planned.id)
    assert run_id(parse(RunSpec, record.spec, "run")) == planned.id and record.spec["source"] == plan.runs[0].spec
