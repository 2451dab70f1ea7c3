"""Runs whose processes are of several nodes: what is asked of SLURM, and on a real one, their scores and their end."""

import re

import pytest

from harness.cli.control import logs_of
from harness.execution.worker import DEFAULT_RUNNER
from harness.ledger.errors import PlanError
from harness.ledger.store import Store
from slurm.arrays import executor_of
from slurm.dry_run import ScriptOnly
from slurm.launch import check_submission
from slurm.packing import Pack
from slurm.resources import needs, widened
from slurm.sandbox import sleepy
from slurm.spread import nodes_of_job
from slurm.submission import Submission, submissions
from tests.slurm.conftest import real_plan
from tests.slurm.test_packing import cluster

TWO, FOUR = {"parallel": "ddp", "processes": 2}, {"parallel": "fsdp", "processes": 4}
WORDS = ("recipe.eps=1e-5",)  # without it AdamW makes a whole step of a gradient that is nothing but rounding


def test_processes_that_no_two_nodes_can_share_alike_are_refused(tmp_path):
    for processes in (1, 3):
        with pytest.raises(PlanError, match=r"cluster\.nodes: 2 for runs of .* processes=2 or a multiple"):
            check_submission(tmp_path, cluster(nodes=2), processes)
    with pytest.raises(PlanError, match=r"at_once: 2 with nodes: 2; .* take at_once: 1"):
        check_submission(tmp_path, cluster(nodes=2, at_once=2), 2)
    with pytest.raises(PlanError, match=r"cluster\.gpus: 2 .* a run uses one GPU of a node, so take gpus: 1\.$"):
        check_submission(tmp_path, cluster(nodes=2, gpus=2), 2)
    check_submission(tmp_path, cluster(nodes=2, gpus=2), 4)


def test_what_is_asked_for_is_of_each_node_and_one_task_starts_all(tmp_path):
    plan, card = sleepy.plan(1), cluster(run_minutes=1.0, cpus=1, gpus=1)
    wide = widened(cluster(run_minutes=1.0, cpus=1, gpus=1, nodes=2), 4)
    assert (wide.cpus, wide.gpus, widened(card, 4).gpus) == (2, 2, 4)
    assert needs(plan, plan.ids, Store(tmp_path), wide, tmp_path, 4) == needs(
        plan, plan.ids, Store(tmp_path), card, tmp_path, 2
    ), "the memory of two processes"
    base = Submission("peftlab-x", plan.name, plan.digest, 4, False, (plan.ids,), None, {}, DEFAULT_RUNNER, "")
    script = executor_of(tmp_path, [Pack(plan.ids, 4, 60.0, False)], base, wide, (), ScriptOnly).script(1)
    assert {"#SBATCH --nodes=2", "#SBATCH --gpus-per-node=2", "#SBATCH --cpus-per-task=2"} <= set(script.splitlines())
    assert re.search(r"^srun .* --nodes 1 --ntasks 1 ", script, re.MULTILINE)


def test_the_other_nodes_of_a_job_are_those_of_its_list_and_meet_at_this_ones_address(fake, monkeypatch):
    fake(scontrol="case $2 in hostnames) printf 'n7\\nn8\\nn9\\n';; node) echo \"NodeAddr=10.0.0.8 for $3\";; esac")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[7-9]")
    monkeypatch.setenv("SLURMD_NODENAME", "n8")
    nodes = nodes_of_job(3)
    assert (nodes.address, list(nodes.others), nodes.count) == ("10.0.0.8", ["n7", "n9"], 3)
    assert {"--nodelist=n9", "--cpus-per-task=3"} <= set(nodes.others["n9"])


def begun(site, cache, *words, layout=TWO):
    """Runs of several processes on two nodes, submitted."""
    plan, plain = real_plan(site.store.root, cache, *WORDS, *words)
    site.sweep(plan, DEFAULT_RUNNER, plain | layout, nodes=2, run_minutes=2.0)
    return plan, plain


def in_the_middle(site, cache):
    """One run that has a checkpoint and goes on; its folder comes last."""
    plan, plain = begun(site, cache, "recipe.max_steps=100")
    folder = site.store.paths(plan.ids[0])
    site.until(folder.checkpoint.is_dir, "a checkpoint")
    return plan, plain, folder


def assert_scores_of_one_process(site, plan, plain):
    together, alone = site.scores(plan), site.undisturbed(plan, DEFAULT_RUNNER, plain)
    assert set(together) == set(alone) == set(plan.ids)
    for run_id, scores in alone.items():
        assert together[run_id] == pytest.approx(scores, abs=1e-5)


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.parametrize("layout, methods", [(TWO, "lora"), (FOUR, "cla")], ids=["a process each", "two each"])
def test_two_nodes_score_as_one_process_and_leave_one_record(site, peftlab_cache, layout, methods):
    plan, plain = begun(site, peftlab_cache, f"method={methods}", layout=layout)
    site.until(lambda: site.finished(plan) and site.idle(), "every record")
    assert_scores_of_one_process(site, plan, plain)
    for run_id in plan.ids:
        record = site.store.read(run_id)
        size = layout["processes"]
        assert record.provenance["parallel"] == {"kind": layout["parallel"], "processes": size, "nodes": 2}
        assert len(record.ranks) == size
        assert [path.name for path in logs_of(site.store, run_id)][:3] == ["events.jsonl", "run.log", "run.n2.log"]
        assert not list(site.store.paths(run_id).folder.glob("outcome.*"))


@pytest.mark.slurm
@pytest.mark.slow
def test_slurms_warning_stops_the_processes_of_every_node_at_a_checkpoint_and_the_run_goes_on(site, peftlab_cache):
    plan, plain, folder = in_the_middle(site, peftlab_cache)
    site.sandbox.ask("scancel", "--signal=USR2", "--name", next(submissions(site.store.root)).name)
    site.until(lambda: site.finished(plan) and site.idle(), "its record, without another command")
    assert "resume" in folder.events.read_text()
    assert "died" not in folder.log.read_text() + site.logs()
    assert_scores_of_one_process(site, plan, plain)


@pytest.mark.slurm
@pytest.mark.slow
def test_a_node_that_dies_leaves_no_record_and_the_run_goes_on_when_it_is_back(site, peftlab_cache):
    plan, plain, folder = in_the_middle(site, peftlab_cache)
    site.sandbox.kill_node("n2")
    site.until(lambda: "RUNNING" not in site.sandbox.ask("squeue", "-h", "-o", "%T"), "the job has ended, or waits")
    assert site.store.status(plan.ids[0]) == "unfinished"
    site.sandbox.start_node("n2")
    site.until(lambda: site.finished(plan) or site.idle(), "the job has gone on")
    if not site.finished(plan):  # it had ended by itself before SLURM called the node down
        site.sweep(plan, DEFAULT_RUNNER, plain | TWO, nodes=2, run_minutes=2.0)
    site.until(lambda: site.finished(plan) and site.idle(), "its record")
    assert "resume" in folder.events.read_text()
    assert_scores_of_one_process(site, plan, plain)
