"""More of a sweep on a real SLURM: limits, sharing, the code that is run, what status and cancel say of live jobs."""

import json

import pytest

from harness.cli.arguments import call
from harness.ledger.quantity import NotMeasured
from slurm.sandbox import sleepy
from slurm.submission import submissions

pytestmark = pytest.mark.slurm


def test_under_a_submit_limit_the_jobs_submit_what_is_left(site):
    plan = sleepy.plan(6)
    first = site.sweep(plan, max_pack=1, submit_limit=2)
    assert (first.runs, first.left) == (2, 4)
    site.until(lambda: site.finished(plan), "all six, without another command")
    assert [site.starts(run_id) for run_id in plan.ids] == [1] * 6


def test_the_concurrency_cap_is_the_arrays(site):
    launched = site.sweep(sleepy.plan(6, steps=2, hold_at=1), max_pack=1, concurrency=2)
    shown = site.sandbox.ask("scontrol", "show", "job", launched.arrays[0])
    assert "ArrayTaskThrottle=2" in shown


def test_runs_that_share_an_allocation_at_the_same_time_say_that_their_timings_do_not_count(site):
    plan = sleepy.plan(2, steps=2, hold_at=1)
    site.sweep(plan, at_once=2, cpus=2)
    site.until(lambda: all(site.step(run_id) == 1 for run_id in plan.ids), "both are begun at the same time")
    site.go()
    site.until(lambda: site.finished(plan), "both")
    for run_id in plan.ids:
        record = site.store.read(run_id)
        assert "2 runs shared the device" in record.notes[-1]
        assert all(isinstance(quantity, NotMeasured) for quantity in record.seconds.values())


def test_a_queued_job_runs_the_code_that_was_submitted(site):
    plan = sleepy.plan(1)
    site.sweep(plan)
    site.until(lambda: site.finished(plan), "a record")
    (submission,) = submissions(site.store.root)
    where = (site.store.paths(plan.ids[0]).folder / "starts.log").read_text().split()[3]
    assert where == f"{submission.snapshot}/slurm/sandbox/sleepy.py"
    assert submission.snapshot.startswith(str(site.store.root / "snapshots"))


def test_a_queued_job_keeps_to_the_plan_it_was_submitted_with(site):
    """Another shell narrows the same sweep while the job waits."""
    wide, narrow = sleepy.plan(3), sleepy.plan(1)
    site.sandbox.ask("scontrol", "update", "PartitionName=low", "State=DOWN")
    try:
        site.sweep(wide)
        assert site.sweep(narrow).runs == 0
    finally:
        site.sandbox.ask("scontrol", "update", "PartitionName=low", "State=UP")
    site.until(lambda: site.finished(wide), "all three")
    site.settle(wide)


def test_status_sees_what_runs_and_what_waits_and_cancel_ends_both(site, capsys):
    plan = sleepy.plan(4, steps=2, hold_at=1)
    site.sweep(plan, max_pack=1, concurrency=2)
    site.until(lambda: site.step(plan.ids[0]) and site.step(plan.ids[1]), "two run")
    where = ["--runs", str(site.store.root), "--json"]
    call("status", where)
    found = json.loads(capsys.readouterr().out)[0]
    assert [run["stage"] for run in found["runs"]] == ["running", "running", "pending", "pending"]
    assert "job " in found["runs"][0]["where"] and found["runs"][2]["why"] == "JobArrayTaskLimit"
    call("cancel", ["sweep=sleepy", *where])
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 4
    site.until(site.idle, "an empty queue")
    call("status", where)
    assert json.loads(capsys.readouterr().out)[0]["counts"]["stopped"] == 2


def test_status_without_the_controller_still_tells_what_the_files_say(site, capsys):
    plan = sleepy.plan(2)
    site.sweep(plan)
    site.until(lambda: site.finished(plan) and site.idle(), "two records")
    with site.no_controller():
        call("status", ["--runs", str(site.store.root), "--json"])
    found = json.loads(capsys.readouterr().out)[0]
    assert found["counts"]["done"] == 2 and found["scheduler_answers"] is False


def test_slurms_refusal_is_one_sentence_and_leaves_nothing_behind(site):
    from harness.ledger.errors import PlanError

    with pytest.raises(PlanError, match=r"SLURM refused the submission.*partition"):
        site.sweep(sleepy.plan(1), partition="nowhere")
    assert list(submissions(site.store.root)) == []
