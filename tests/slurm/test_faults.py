"""Things that go wrong on a real SLURM, each made to happen. Afterwards: the command again, and every run is done once.

`Site.settle` is the one judge: each planned run is done, came to its end exactly once, and has the scores of a sweep
that nothing happened to. Runs wait in their middle for what happens to them, so that no test depends on how fast the
machine is. Most are runs that do nothing; the last tests are real training, interrupted between two checkpoints.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import pytest

from harness.cli.arguments import call
from harness.cli.sync import waiting
from harness.execution.lease import look
from harness.ledger.errors import PlanError
from harness.ledger.plan import Plan, write_plan
from harness.ledger.quantity import Measured
from slurm.sandbox import sleepy
from tests.slurm.conftest import HELD, real_plan

pytestmark = pytest.mark.slurm


def held_plan(count=2):
    """Runs that wait in their middle until something happens to them."""
    return sleepy.plan(count, steps=8, hold_at=4)


def in_the_middle(site, plan):
    """The first run, once it waits."""
    first = plan.ids[0]
    site.until(lambda: site.step(first) == 4 and holder(site, first), "the first run is in its middle")
    return first


def holder(site, run_id):
    seen = look(site.store.paths(run_id).folder)
    return seen and seen.holder


def test_a_killed_worker_is_replaced_inside_its_job(site):
    plan = held_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    os.kill(holder(site, first).pid, signal.SIGKILL)
    site.go()
    site.until(lambda: site.finished(plan), "every record, without another command")
    assert site.starts(first) == 2 and "died of SIGKILL" in site.logs()
    site.settle(plan)


def test_scancel(site):
    plan = held_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    site.sandbox.ask("scancel", holder(site, first).job)
    site.until(site.idle, "the job is gone")
    assert site.starts(first, "stopped") == 1, "it had the time for a checkpoint"
    site.go()
    site.settle(plan)


def test_a_plain_requeue_goes_on_from_the_checkpoint(site):
    plan = held_plan()
    site.sweep(plan)
    first = in_the_middle(site, plan)
    site.sandbox.ask("scontrol", "requeue", holder(site, first).job)
    site.until(lambda: site.starts(first) == 2, "the job is started again")
    site.go()
    site.until(lambda: site.finished(plan), "every record, without another command")
    site.settle(plan)


URGENT = ("--partition=high", "--nodes=2", "--exclusive", "--mem=0", "--output=/dev/null", "--wrap=sleep 1")


@contextmanager
def no_user_signal(sandbox):
    """As on most clusters: a preempted job is told so by SIGTERM alone."""
    conf = sandbox.folder / "etc/slurm.conf"
    text = conf.read_text()
    conf.write_text(text.replace("SlurmctldParameters=preempt_send_user_signal\n", ""))
    sandbox.ask("scontrol", "reconfigure")
    yield
    conf.write_text(text)
    sandbox.ask("scontrol", "reconfigure")


@pytest.mark.parametrize("told_by", ["USR2", "TERM"])
def test_preemption_by_a_higher_partition(site, told_by):
    plan = held_plan()
    with no_user_signal(site.sandbox) if told_by == "TERM" else nullcontext():
        site.sweep(plan)
        first = in_the_middle(site, plan)
        site.sandbox.ask("sbatch", *URGENT)
        site.until(lambda: site.starts(first, "stopped") == 1, "the checkpoint")
        site.go()
        site.until(lambda: site.finished(plan), "every record, without another command")
    assert ("preempted" in site.logs()) is (told_by == "USR2") and "timed-out" not in site.logs()
    site.settle(plan)


def test_a_node_that_goes_down(site):
    plan = held_plan()
    site.sweep(plan, exclude=("n2",))
    first = in_the_middle(site, plan)
    site.sandbox.kill_node("n1")
    site.until(lambda: site.sandbox.states().get("n1", "").startswith("down"), "node n1 is down")
    site.sandbox.start_node("n1")
    site.go()
    site.until(lambda: site.finished(plan), "every record, without another command")
    assert site.starts(first) == 2
    site.settle(plan)


def test_a_controller_that_is_away_is_no_empty_queue(site):
    plan = held_plan()
    site.sweep(plan)
    in_the_middle(site, plan)
    with site.no_controller():
        with pytest.raises(PlanError, match="did not answer"):
            site.sweep(plan)
        site.go()
        site.until(lambda: site.finished(plan), "the runs go on meanwhile")
    site.settle(plan)


SUBMIT = """
import sys
from pathlib import Path
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from harness.ledger.parse import parse
from slurm.cluster_spec import SlurmCluster
from slurm.launch import start
import json
runs = Path(sys.argv[1])
cluster = parse(SlurmCluster, json.loads(sys.argv[2]), "cluster")
print(start(read_plan(runs, "sleepy"), Store(runs), cluster, None, runner="slurm.sandbox.sleepy:run").runs)
"""


DIES_AFTER_SBATCH = """
import os
import slurm.executor
sbatch = slurm.executor.sbatch
slurm.executor.sbatch = lambda *words: os._exit(9 if sbatch(*words) else 1)
"""


def submitter(site, plan, code=SUBMIT, **changes):
    """A shell of its own that submits the plan."""
    write_plan(site.store.root, plan)
    cluster = json.dumps(asdict(site.cluster(**changes)))
    command = [sys.executable, "-c", code, str(site.store.root), cluster]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_submitters_at_once_submit_each_run_once(site):
    plan = sleepy.plan(30)
    both = [submitter(site, plan, max_pack=5) for _ in range(2)]
    assert sorted(int(process.communicate()[0]) for process in both) == [0, 30]
    site.settle(plan)


def test_a_submitting_shell_that_is_killed_before_sbatch(site):
    plan = sleepy.plan(16)
    process = submitter(site, plan, max_pack=2, concurrency=4)
    site.until(lambda: list(site.store.root.glob("jobs/*/submission.json")), "the intention is written down")
    process.kill()
    process.communicate()
    site.sweep(plan, max_pack=2)
    site.settle(plan, max_pack=2)


def test_a_submitting_shell_that_dies_as_sbatch_answers_leaves_an_array_that_works(site):
    plan = sleepy.plan(4)
    assert submitter(site, plan, DIES_AFTER_SBATCH + SUBMIT, max_pack=2).wait() == 9
    site.until(lambda: site.finished(plan), "every record, without another command")
    site.settle(plan)


def test_a_truncated_record(site):
    plan = sleepy.plan(2)
    site.sweep(plan)
    site.until(lambda: site.finished(plan) and site.idle(), "every record")
    record = site.store.paths(plan.ids[0]).record
    record.write_bytes(record.read_bytes()[:100])
    (record.parent / "starts.log").unlink()
    assert site.sweep(plan).runs == 1
    site.settle(plan)


@contextmanager
def small_disk(folder):
    """A tmpfs of a few megabytes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small tmpfs here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk(site):
    with small_disk(site.store.root):
        plan = held_plan(3)
        site.sweep(plan)
        in_the_middle(site, plan)
        site.go()
        ballast = site.store.root / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
            while True:
                os.write(file.fileno(), bytes(4096))
        site.until(site.idle, "the job has given up")
        assert not site.finished(plan)
        ballast.unlink()
        site.settle(plan)


def test_a_run_out_of_memory_gets_more_once(site):
    plan = sleepy.plan(2, megabytes=2200)
    site.sweep(plan)
    site.until(site.idle, "killed for its memory")
    assert not site.finished(plan)
    again = site.sweep(plan)
    assert again.more_memory and not again.excluded
    site.settle(plan)
    assert "memory" in site.logs() and site.starts(plan.ids[0]) == 2


def test_a_run_that_is_out_of_memory_twice_is_a_record_and_a_larger_class_is_the_persons_choice(site, capsys):
    plan = sleepy.plan(1, megabytes=700)
    site.sweep(plan, memory_gb=(1,), extra={"mem": "500M"})
    site.until(site.idle, "killed for its memory")
    done = site.sweep(plan, memory_gb=(1,))
    assert done.out_of_memory == plan.ids and done.runs == 0
    failure = site.store.read(plan.ids[0]).failure
    assert failure.kind == "oom" and "1 GB" in failure.message
    assert site.sweep(plan, memory_gb=(1,)).runs == 0, "it stands until a person retries it"
    assert call("retry", ["sleepy", "--failed", "oom", "--runs", str(site.store.root)]) == 0
    site.settle(plan)


def test_a_bad_node_is_excluded_and_named(site):
    deadly, good = sleepy.plan(2, die_on="n1"), sleepy.plan(2)
    plan = Plan("sleepy", (deadly.runs[0], good.runs[1]), (), {})
    site.sweep(plan, bad_node_after=1, exclude=("n2",))
    site.until(site.idle, "the job has given up")
    assert [site.store.status(run_id) for run_id in plan.ids] == ["unfinished", "done"], "the other run had its turn"
    again = site.sweep(plan, bad_node_after=1)
    assert list(again.excluded) == ["n1"] and "1 run died" in again.excluded["n1"]
    site.settle(plan, bad_node_after=1)


def test_slurm_agrees_that_a_job_with_a_failed_run_has_failed(site):
    failing, good = sleepy.plan(2, fail_once="diverged"), sleepy.plan(2)
    plan = Plan("sleepy", (failing.runs[0], good.runs[1]), (), {})
    launched = site.sweep(plan)
    site.until(site.idle, "the job has ended")
    assert "JobState=FAILED" in site.sandbox.ask("scontrol", "show", "job", launched.arrays[0])
    assert [site.store.status(run_id) for run_id in plan.ids] == ["failed", "done"], "the other run had its turn"
    assert site.sweep(plan).runs == 0, "a run that failed by itself is not done again unasked"
    assert call("retry", ["sleepy", "--failed", "diverged", "--runs", str(site.store.root)]) == 0
    site.settle(plan)


def went_on(site, run_id, attempts=2):
    """The same run in two starts: its clocks were carried on, and still add up."""
    record = site.store.read(run_id)
    assert record.attempts == attempts
    seconds = {name: quantity.value for name, quantity in record.seconds.items() if isinstance(quantity, Measured)}
    lost, wall = seconds.pop("train_wasted"), seconds.pop("wall")
    seconds.pop("worker_setup", None)  # paid once by a worker, and apart from the run's own clocks
    assert sum(seconds.values()) == pytest.approx(wall, rel=0.01)
    assert lost >= 0
    resumed = [event["step"] for event in events(site, run_id) if event["event"] == "resume"]
    assert resumed == [sleepy.HELD_AT] * (attempts - 1), "it went on from its checkpoint"
    return seconds


def events(site, run_id):
    return [json.loads(line) for line in site.store.paths(run_id).events.read_text().splitlines()]


def saved_clocks(site, run_id):
    return json.loads((site.store.paths(run_id).checkpoint / "state.json").read_text())["clocks"]["seconds"]


@pytest.mark.slow
def test_real_runs_killed_or_requeued_while_wandb_is_unreachable_go_on_with_their_clocks_and_have_the_same_scores(
    site, peftlab_cache, monkeypatch
):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    words = ("seed=0,1", "wandb.mode=online")
    plan, settings = real_plan(site.store.root, peftlab_cache, *words, tracker="wandb")
    site.sweep(plan, HELD, settings, max_pack=1)
    site.until(lambda: all(site.starts(run_id, "held") for run_id in plan.ids), "both wait after a checkpoint")
    before = [saved_clocks(site, run_id) for run_id in plan.ids]
    os.kill(holder(site, plan.ids[0]).pid, signal.SIGKILL)
    site.sandbox.ask("scontrol", "requeue", holder(site, plan.ids[1]).job)
    site.until(lambda: site.finished(plan), "both records, without another command")
    for run_id, clocks in zip(plan.ids, before, strict=True):
        after = went_on(site, run_id)
        assert all(after[clock] >= seconds for clock, seconds in clocks.items() if clock != "setup")
    assert "does not answer" in site.store.paths(plan.ids[0]).log.read_text()
    assert len(waiting(site.store)) == 2, "both can still be uploaded"
    site.settle(plan, HELD, settings, max_pack=1)


@pytest.mark.slow
def test_a_real_run_that_is_preempted_goes_on_with_its_clocks_and_has_the_same_scores(site, peftlab_cache):
    plan, settings = real_plan(site.store.root, peftlab_cache)
    site.sweep(plan, HELD, settings)
    site.until(lambda: site.starts(plan.ids[0], "held"), "it waits after a checkpoint")
    clocks = saved_clocks(site, plan.ids[0])
    site.sandbox.ask("sbatch", *URGENT)
    site.until(lambda: site.finished(plan), "a record, without another command")
    assert "preempted" in site.logs() and "timed-out" not in site.logs()
    after = went_on(site, plan.ids[0])
    assert all(after[clock] >= seconds for clock, seconds in clocks.items() if clock != "setup")
    site.settle(plan, HELD, settings)
