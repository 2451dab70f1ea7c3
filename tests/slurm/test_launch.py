"""Sweeps on a real SLURM: submitted once, in few arrays, and only what is missing."""

import resource

import pytest

from slurm.sandbox import sleepy

pytestmark = pytest.mark.slurm


def test_a_sweep_is_done_and_the_same_command_again_submits_nothing(site):
    plan = sleepy.plan(4)
    first = site.sweep(plan, max_pack=2)
    assert (first.runs, first.jobs) == (4, 2)
    assert site.sweep(plan, max_pack=2).runs == 0, "they are in live jobs"
    site.until(lambda: site.finished(plan), "four records")
    site.until(site.idle, "an empty queue")
    again = site.sweep(plan)
    assert (again.runs, len(again.todo.settled)) == (0, 4)
    assert [site.starts(run_id) for run_id in plan.ids] == [1, 1, 1, 1]


def test_a_larger_grid_adds_only_its_new_runs(site):
    site.sweep(sleepy.plan(2))
    larger = sleepy.plan(5)
    assert site.sweep(larger).runs == 3
    site.until(lambda: site.finished(larger), "five records")
    assert [site.starts(run_id) for run_id in larger.ids] == [1] * 5


def seconds_of_cpu():
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def test_a_thousand_runs_are_submitted_in_a_handful_of_arrays_and_seconds(site):
    plan = sleepy.plan(1000)
    site.sandbox.ask("scontrol", "update", "PartitionName=low", "State=DOWN")  # submission is measured, not 1,000 runs
    try:
        before = seconds_of_cpu()
        launched = site.sweep(plan, max_pack=5, concurrency=8, run_minutes=1.0)
        assert seconds_of_cpu() - before < 15, "a third of a second on an idle machine; other programs do not count"
        assert launched.runs == 1000 and launched.jobs == 200
        assert len(launched.arrays) == 2, "200 jobs, MaxArraySize 101"
        assert site.sweep(plan).runs == 0
    finally:
        site.sandbox.ask("scancel", "--user=root")
        site.sandbox.ask("scontrol", "update", "PartitionName=low", "State=UP")
