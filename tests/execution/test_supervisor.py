"""What serves both the local launcher and SLURM's jobs: a GPU or cores for each worker, an end for what kills it."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from harness.config.settings import settings_from
from harness.execution import local
from harness.execution.gpus import pin, sharers, visible_gpus
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import write_plan
from harness.ledger.quantity import NotMeasured
from harness.ledger.store import Store
from harness.measure.cores import by_node, shares
from harness.planning.plan import read_request
from slurm.cluster_spec import SlurmCluster
from slurm.job import Job, RunsFailed
from slurm.launch import start
from slurm.nodes import bad_nodes, note_death, this_node
from slurm.sandbox import sleepy
from slurm.submission import Submission, write_submission

CARD = Path(__file__).resolve().parents[2] / "conf/cluster/slurm.yaml"
# A runner that writes down which GPUs its worker sees and which cores it is bound to, and waits until as many
# workers as are wanted have done so.
SEES = """
import os, time
from harness.measure.cores import pinned
from slurm.sandbox import sleepy
def run(planned, store, settings, stop):
    seen = store.root / "seen"
    seen.mkdir(exist_ok=True)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0)))) if pinned() else "any"
    (store.root / f"cores.{os.getpid()}").write_text(cores)
    (seen / str(os.getpid())).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    while len(list(seen.iterdir())) < int(os.environ["WORKERS"]):
        time.sleep(0.02)
    return sleepy.run(planned, store, settings, stop)
"""


@pytest.fixture
def runner(tmp_path, monkeypatch):
    (tmp_path / "sees.py").write_text(SEES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "sees:run"


def launch_here(plan, store, runner, *words, **cluster):
    write_plan(store.root, plan)
    settings = settings_from(read_request([f"runs={store.root}", *words]).config)
    return local.launch(plan, store, settings, {"processes": None, "threads": 1} | cluster, runner=runner)


def launch_job(plan, store, runner, **changes):
    """A job as SLURM would start it, in this process."""
    write_plan(store.root, plan)
    card = replace(parse(SlurmCluster, yaml.safe_load(CARD.read_text()), "cluster"), **changes)
    base = Submission("s", plan.name, plan.digest, 1, False, (plan.ids,), None, asdict(card), runner, "")
    write_submission(store.root, base)
    Job(str(store.root), "s", plan.ids)()


def seen(store):
    return sorted(path.read_text() for path in (store.root / "seen").iterdir())


def test_this_machine_has_a_worker_for_each_gpu_and_each_worker_sees_its_own(tmp_path, monkeypatch, runner):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5")
    monkeypatch.setenv("WORKERS", "2")
    plan, store = sleepy.plan(3), Store(tmp_path / "runs")
    assert launch_here(plan, store, runner) == 0
    assert seen(store) == ["2", "GPU-5"]
    assert "not comparable" not in "".join(store.read(plan.ids[0]).notes), "each had its device alone"


def test_more_workers_than_gpus_take_turns_and_their_timings_do_not_count(tmp_path, monkeypatch, runner):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("WORKERS", "3")
    plan, store = sleepy.plan(3), Store(tmp_path / "runs")
    assert launch_here(plan, store, runner, processes=3) == 0
    assert seen(store) == ["0", "0", "1"]
    assert isinstance(store.read(plan.ids[0]).seconds["train"], NotMeasured)
    assert "2 runs shared the device" in store.read(plan.ids[0]).notes[-1]


@pytest.mark.parametrize("at_once", [2, 3])
def test_the_workers_of_a_slurm_job_see_a_gpu_each(tmp_path, monkeypatch, runner, at_once):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("WORKERS", str(at_once))
    plan, store = sleepy.plan(4), Store(tmp_path / "runs")
    (store.root / "jobs").mkdir(parents=True)
    launch_job(plan, store, runner, gpus=2, at_once=at_once)
    assert seen(store) == {2: ["0", "1"], 3: ["0", "0", "1"]}[at_once]
    assert {store.status(run_id) for run_id in plan.ids} == {"done"}
    shared = "not comparable" in "".join(store.read(plan.ids[0]).notes)
    assert shared is (at_once == 3)


def cores(store):
    return sorted(path.read_text() for path in store.root.glob("cores.*"))


def test_workers_without_gpus_have_cores_of_their_own_unless_they_are_more_than_cores(tmp_path, monkeypatch, runner):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    parts = shares(by_node(os.sched_getaffinity(0)), 2)
    own = sorted(",".join(map(str, sorted(part))) for part in parts) or ["any", "any"]  # of a machine of one core
    many = len(os.sched_getaffinity(0)) + 1
    for count, expected in ((1, ["any"]), (2, own), (many, ["any"] * many)):
        plan, store = sleepy.plan(count), Store(tmp_path / f"runs{count}")
        monkeypatch.setenv("WORKERS", str(count))
        assert launch_here(plan, store, runner, processes=count) == 0
        assert cores(store) == expected
    job = Store(tmp_path / "job")
    (job.root / "jobs").mkdir(parents=True)
    monkeypatch.setenv("WORKERS", "2")
    launch_job(sleepy.plan(2), job, runner, at_once=2)
    assert cores(job) == own


def test_without_gpus_no_device_is_chosen_and_minus_one_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == [] and pin(3, []) == {} and sharers(3, []) == 3
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    monkeypatch.setattr("harness.execution.gpus.DRIVER", tmp_path)
    assert visible_gpus() == ["0", "1"]


def test_two_gpus_for_one_run_are_refused_in_one_sentence(tmp_path):
    card = replace(parse(SlurmCluster, yaml.safe_load(CARD.read_text()), "cluster"), gpus=2)
    with pytest.raises(PlanError, match="a run uses one GPU, so take gpus: 1, or at_once: 2"):
        start(sleepy.plan(1), Store(tmp_path), card, None)


def test_in_a_slurm_job_too_a_run_that_kills_two_workers_is_left_and_the_others_are_done(tmp_path, capfd):
    deadly, good = sleepy.plan(3, die_on="?"), sleepy.plan(3)
    plan, store = replace(good, runs=(deadly.runs[0], *good.runs[1:])), Store(tmp_path / "runs")
    (store.root / "jobs").mkdir(parents=True)
    with pytest.raises(RunsFailed, match=plan.ids[0]):
        launch_job(plan, store, "slurm.sandbox.sleepy:run")
    assert [store.status(run_id) for run_id in plan.ids] == ["unfinished", "done", "done"]
    assert f"{plan.ids[0]} killed 2 workers and is left alone" in capfd.readouterr().out


def test_lines_of_deaths_that_are_none_are_passed_over(tmp_path):
    (tmp_path / "jobs").mkdir()
    note_death(tmp_path, "SIGKILL", ["a"])
    file = tmp_path / "jobs" / "deaths.jsonl"
    now = b"9999999999"
    odd = [
        b"\xff\xfe",
        b"[]",
        b"3",
        b'{"t": "now", "node": "n", "ids": []}',
        b'{"t": %s, "node": 2, "ids": ["a"]}' % now,
    ]
    file.write_bytes(b"\n".join([*odd, b'{"t": %s, "node": "n", "ids": "a"}' % now, file.read_bytes()]))
    assert list(bad_nodes(tmp_path, 1, 0.0)) == [this_node()]
