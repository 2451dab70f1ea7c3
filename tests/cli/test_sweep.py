"""A sweep on this machine: worker processes, what is missing, what failed, and the answer at the end."""

import json

import pytest

from harness.__main__ import main
from harness.ledger.plan import read_plan
from harness.ledger.store import Store

DIGITS = [
    "model=vit_micro",
    "dataset=digits",
    "recipe.max_steps=4",
    "recipe.evaluations=1",
    "tracker=none",
    "device=cpu",
]


@pytest.fixture
def sweep(tmp_path, peftlab_cache, capfd):
    """Issue a sweep; returns (exit code, what it said)."""

    def issue(*words):
        folders = [f"runs={tmp_path / 'runs'}", f"report={tmp_path / 'report'}", f"cache={peftlab_cache}"]
        code = main(["sweep", *DIGITS, *folders, *words])
        said = capfd.readouterr()
        return code, said.out + said.err

    return issue


def _started(tmp_path):
    """How often each run was begun, from its events."""
    found = {}
    for file in (tmp_path / "runs").glob("*/events.jsonl"):
        found[file.parent.name] = sum(json.loads(line)["event"] == "start" for line in file.read_text().splitlines())
    return found


@pytest.mark.slow
def test_a_sweep_does_what_is_missing_and_nothing_twice(sweep, tmp_path):
    code, said = sweep("method=head,cla", "seed=0")
    assert code == 0 and "2 of 2 runs to do" in said and "Report:" in said
    assert len(_started(tmp_path)) == 2
    code, said = sweep("method=head,cla", "seed=0")
    assert code == 0 and "all 2 runs have a record; nothing to run" in said
    assert "nothing has changed since" in said
    code, said = sweep("method=head,cla", "seed=0,1", "cluster.processes=1")
    assert code == 0 and "2 of 4 runs to do (2 have a record)" in said
    assert len(_started(tmp_path)) == 4 and set(_started(tmp_path).values()) == {1}


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_are_done(sweep, tmp_path):
    broken = ["recipe.lr=1e30", "recipe.head_lr=1e30", "recipe.clip_norm=null", "cluster.processes=1"]
    code, said = sweep("method=head,full", *broken)
    store = Store(tmp_path / "runs")
    (name,) = (path.stem for path in (tmp_path / "runs" / "plans").glob("adhoc-*.json"))
    statuses = {run.choices["method"]: store.status(run.id) for run in read_plan(store.root, name).runs}
    assert code == 1
    assert statuses["full"] == "failed" and "diverged in train" in said
    failed = [run.id for run in read_plan(store.root, name).runs if store.status(run.id) == "failed"]
    assert all(f"failed {run_id}" in said for run_id in failed)
    code, said = sweep("method=head,full", *broken)
    assert code == 1 and "nothing to run" in said, "a failed run is not tried again by itself"
