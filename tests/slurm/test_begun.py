"""Jobs that die before their worker: what they said is shown, and a node that swallows them is excluded and named."""

import json
import subprocess

import pytest

from harness.cli.arguments import call
from harness.cli.launchers import queue_of
from harness.execution.sweep_state import survey
from harness.ledger.store import Store
from slurm.begun import WORKED, black_holes, lost, shell_lines
from slurm.sandbox import sleepy
from slurm.submission import submissions
from tests.slurm.test_commands import sweep

RUN_IT = "export SLURMD_NODENAME=n1 SLURM_JOB_ID=40 SLURM_ARRAY_JOB_ID=12 SLURM_ARRAY_TASK_ID=1"


@pytest.fixture
def store(fake, tmp_path):
    """Two jobs of one run each were submitted, and are no longer in the queue."""
    fake()
    sweep(tmp_path / "runs", sleepy.plan(2), max_pack=1)
    return Store(tmp_path / "runs")


def ended(store, job, node, code, *words, seconds=1):
    """As a job's shell writes it."""
    folder = store.root / "jobs" / next(submissions(store.root)).name
    (folder / f"begun_{job}").write_text("\n".join([f"node {node}", *words, f"ended {code} {seconds}"]) + "\n")
    return folder


def in_bash(store, line):
    lines = [RUN_IT, *shell_lines(store.root, next(submissions(store.root)).name), line]
    return subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True).returncode


def test_a_job_whose_set_up_fails_is_known_with_its_node_and_its_last_words(store, capsys):
    assert in_bash(store, "exit 3") == 3
    folder = store.root / "jobs" / next(submissions(store.root)).name
    (folder / "12_1_0_log.err").write_text("module: command not found\n")
    (job,) = lost(store.root)
    assert (job.job, job.node, job.ids) == ("12_1", "n1", sleepy.plan(2).ids[1:])
    for row, words in zip(
        survey(sleepy.plan(2), store, queue_of(store.root)).rows, ("", "module: command not found"), strict=True
    ):
        assert row.stage == "missing" and row.message.endswith(words)
    where = ["--runs", str(store.root)]
    call("status", where)
    assert "job 12_1 on n1 ended before it did a run" in capsys.readouterr().out
    call("logs", [job.ids[0], *where])
    assert "module: command not found" in capsys.readouterr().out
    assert call("explain", [job.ids[0], f"runs={store.root}", "--json"]) == 0
    assert "module: command not found" in json.loads(capsys.readouterr().out)["why"]


def test_a_job_that_is_cancelled_in_its_set_up_or_still_runs_is_not_lost(store):
    in_bash(store, "kill -TERM $$; sleep 1")
    folder = ended(store, "12_0", "n1", 1)
    (folder / "begun_12_0").write_text("node n1\n")
    (folder / "begun_garbage").write_bytes(b"\xff\n")
    assert lost(store.root) == () and black_holes(store.root, 1, 0.0) == {}


def test_a_node_on_which_jobs_end_at_once_is_excluded_until_one_works_there(store):
    ended(store, "12_0", "n1", 1)
    assert black_holes(store.root, 2, 0.0) == {}
    ended(store, "12_1", "n1", 2)
    assert list(black_holes(store.root, 2, 0.0)) == ["n1"]
    again = sweep(store.root, sleepy.plan(2), max_pack=1, bad_node_after=2)
    assert "2 jobs ended there within seconds" in again.excluded["n1"]
    assert black_holes(store.root, 2, 1e12) == {}, "a day later it has another chance"


def test_neither_a_set_up_that_fails_everywhere_nor_wrong_code_nor_a_long_job_is_a_nodes_fault(store, caplog):
    ended(store, "12_0", "n1", 1)
    ended(store, "12_1", "n2", 1)
    assert black_holes(store.root, 1, 0.0) == {} and "on every node (n1, n2)" in caplog.text
    ended(store, "12_1", "n2", 1, WORKED)
    assert list(black_holes(store.root, 1, 0.0)) == ["n1"]
    ended(store, "12_0", "n1", 1, "code")
    assert black_holes(store.root, 1, 0.0) == {}
    ended(store, "12_0", "n1", 1, seconds=500)
    assert black_holes(store.root, 1, 0.0) == {}


@pytest.mark.slurm
def test_a_node_whose_set_up_fails_does_not_swallow_a_sweep(site):
    plan = sleepy.plan(3)
    trap = {"setup": ('[ "$SLURMD_NODENAME" != n1 ] || { echo no such module >&2; exit 4; }',), "bad_node_after": 2}
    site.sweep(plan, max_pack=1, exclude=("n2",), **trap)
    site.until(site.idle, "all jobs ended")
    assert "no such module" in survey(plan, site.store, queue_of(site.store.root)).rows[0].message
    assert list(site.sweep(plan, max_pack=1, **trap).excluded) == ["n1"]
    site.settle(plan, max_pack=1, **trap)
