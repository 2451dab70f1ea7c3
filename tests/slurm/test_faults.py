"""Things that go wrong on a real SLURM, each made to happen. Afterwards: the command again, and every run is done once.

"Once" is read off each run's own log, and its score must be that of an undisturbed run: it went on, it did not restart.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from harness.lease import look
from harness.ledger.errors import PlanError
from harness.ledger.plan import Plan, write_plan
from slurm.sandbox import sleepy

pytestmark = pytest.mark.slurm


def in_the_middle(site, plan):
    first = plan.ids[0]
    site.until(lambda: site.step(first) >= 3, "the first run is in its middle")
    return first


def job_of(site, run_id):
    return look(site.store.paths(run_id).folder).holder.job


def long_plan(count=2):
    return sleepy.plan(count, steps=25, seconds=0.1)


def test_a_killed_worker_is_replaced_inside_its_job(site):
    plan = long_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    os.kill(look(site.store.paths(first).folder).holder.pid, signal.SIGKILL)
    site.until(lambda: site.finished(plan), "every record, without another command")
    assert site.starts(first) == 2 and "died of SIGKILL" in site.logs()
    site.settle(plan)


def test_scancel(site):
    plan = long_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    site.sandbox.ask("scancel", job_of(site, first))
    site.until(site.idle, "the job is gone")
    assert site.starts(first, "stopped") == 1, "it had the time for a checkpoint"
    site.settle(plan)


def test_a_plain_requeue_goes_on_from_the_checkpoint(site):
    plan = long_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    site.sandbox.ask("scontrol", "requeue", job_of(site, first))
    site.until(lambda: site.finished(plan), "every record, without another command", 90)
    assert site.starts(first) == 2
    site.settle(plan)


def test_preemption_by_a_higher_partition(site):
    plan = long_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    urgent = ("--partition=high", "--nodes=2", "--exclusive", "--mem=0", "--output=/dev/null", "--wrap=sleep 1")
    site.sandbox.ask("sbatch", *urgent)
    site.until(lambda: site.starts(first, "stopped") == 1, "the checkpoint")
    site.until(lambda: site.finished(plan), "every record, without another command", 90)
    assert "preempted" in site.logs() and "timed-out" not in site.logs()
    site.settle(plan)


def test_a_node_that_goes_down(site):
    plan = long_plan()
    site.sweep(plan, exclude=("n2",))
    first = in_the_middle(site, plan)
    site.sandbox.kill_node("n1")
    try:
        site.sandbox.wait(lambda: site.sandbox.states().get("n1", "").startswith("down"), "node n1 down")
    finally:
        site.sandbox.start_node("n1")
    site.until(lambda: site.finished(plan), "every record, without another command", 90)
    assert site.starts(first) == 2
    site.settle(plan)


def test_a_controller_that_is_away_is_no_empty_queue(site):
    plan = long_plan()
    site.sweep(plan)
    in_the_middle(site, plan)
    site.sandbox.stop_controller()
    try:
        with pytest.raises(PlanError, match="did not answer"):
            site.sweep(plan)
        site.until(lambda: site.finished(plan), "the runs go on meanwhile", 60)
    finally:
        site.sandbox.start_controller()
    site.settle(plan)


SUBMIT = """
import sys
from pathlib import Path
from harness.ledger.plan import read_plan
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from harness.ledger.parse import parse
from harness.ledger.cluster_spec import SlurmCluster
from slurm.launch import start
import json
runs = Path(sys.argv[1])
cluster = parse(SlurmCluster, json.loads(sys.argv[2]), "cluster")
print(start(read_plan(runs, "sleepy"), Store(runs), cluster, None, runner="slurm.sandbox.sleepy:run").runs)
"""


def submitter(site, plan, **changes):
    """A shell of its own that submits the plan."""
    write_plan(site.store.root, plan)
    cluster = json.dumps(asdict(site.cluster(**changes)))
    command = [sys.executable, "-c", SUBMIT, str(site.store.root), cluster]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_submitters_at_once_submit_each_run_once(site):
    plan = sleepy.plan(30)
    both = [submitter(site, plan, max_pack=5) for _ in range(2)]
    assert sorted(int(process.communicate(timeout=60)[0]) for process in both) == [0, 30]
    site.settle(plan)


@pytest.mark.parametrize("moment", ["before sbatch", "after sbatch"])
def test_a_submitting_shell_that_is_killed(site, moment):
    plan = sleepy.plan(40)
    process = submitter(site, plan, max_pack=2, concurrency=4)
    if moment == "before sbatch":
        site.until(lambda: list(site.store.root.glob("jobs/*/submission.json")), "the intention is written down", 20)
    else:
        site.until(lambda: not site.idle(), "the array is in the queue", 20)
    process.kill()
    process.communicate()
    site.sweep(plan, max_pack=2)
    site.settle(plan, max_pack=2)


def test_a_truncated_record(site):
    plan = sleepy.plan(2)
    site.sweep(plan)
    site.until(lambda: site.finished(plan) and site.idle(), "every record")
    record = site.store.paths(plan.ids[0]).record
    record.write_bytes(record.read_bytes()[:100])
    (record.parent / "starts.log").unlink()
    assert site.sweep(plan).runs == 1
    site.settle(plan)


def test_a_full_disk(site, tmp_path):
    small = tmp_path / "runs"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small tmpfs here: {mounted.stderr.strip()}")
    try:
        plan = sleepy.plan(3, steps=20, seconds=0.1)
        site.sweep(plan)
        in_the_middle(site, plan)
        ballast = small / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
            while True:
                os.write(file.fileno(), bytes(4096))
        site.until(site.idle, "the job has given up", 60)
        assert not site.finished(plan)
        ballast.unlink()
        site.settle(plan)
    finally:
        site.until(site.idle, "nothing uses the disk", 60)
        time.sleep(0.5)
        subprocess.run(["umount", small], check=True)


def test_a_run_out_of_memory_gets_more_once_and_then_a_record(site):
    plan = sleepy.plan(1, megabytes=2200, hold=4.0)
    site.sweep(plan)
    site.until(site.idle, "killed for its memory")
    assert not site.finished(plan)
    again = site.sweep(plan)
    assert again.more_memory == plan.ids
    site.until(lambda: site.finished(plan), "done in the larger class")
    assert site.store.status(plan.ids[0]) == "done"


def test_a_run_that_is_out_of_memory_twice_is_recorded_as_failed(site):
    plan = sleepy.plan(1, megabytes=700, hold=20.0)
    site.sweep(plan, memory_gb=(1,), extra={"mem": "500M"})
    site.until(site.idle, "killed for its memory")
    done = site.sweep(plan, memory_gb=(1,))
    assert done.out_of_memory == plan.ids and done.runs == 0
    failure = site.store.read(plan.ids[0]).failure
    assert failure.kind == "oom" and "1 GB" in failure.message


def test_a_bad_node_is_excluded_and_named(site):
    deadly, good = sleepy.plan(2, die_on="n1"), sleepy.plan(2)
    plan = Plan("sleepy", (deadly.runs[0], good.runs[1]), (), {})
    site.sweep(plan, bad_node_after=1, exclude=("n2",))
    site.until(site.idle, "the job has given up")
    assert [site.store.status(run_id) for run_id in plan.ids] == ["unfinished", "done"], "the other run had its turn"
    again = site.sweep(plan, bad_node_after=1)
    assert list(again.excluded) == ["n1"] and "1 runs died" in again.excluded["n1"]
    site.until(lambda: site.finished(plan), "done on the other node")


def test_slurm_agrees_that_a_job_with_a_failed_run_has_failed(site):
    plan = sleepy.plan(1, fail="diverged")
    launched = site.sweep(plan)
    site.until(site.idle, "the job has ended")
    assert "JobState=FAILED" in site.sandbox.ask("scontrol", "show", "job", launched.arrays[0])
    assert site.sweep(plan).runs == 0, "a run that failed by itself is not done again unasked"
