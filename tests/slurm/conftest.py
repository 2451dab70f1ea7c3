"""A real SLURM for the whole session: two nodes, two partitions, preemption. Skipped where it is not installed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.resolve import Resolver
from harness.config.settings import settings_from, settings_to_plain
from harness.execution.worker import DEFAULT_RUNNER
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, read_request
from slurm.cluster_spec import SlurmCluster
from slurm.launch import start
from slurm.sandbox import sleepy
from slurm.sandbox.cluster import Sandbox, pointed_at, why_not
from tests.slurm.fake import fake

__all__ = ["fake"]

REPOSITORY = Path(__file__).resolve().parents[2]
SLEEPY = "slurm.sandbox.sleepy:run"
HELD = "slurm.sandbox.sleepy:held"
LIMITED = {"limit_minutes": 2, "warn_seconds": 60}
PATIENCE = 200  # seconds: a machine that stands still for a while fails no test
REAL = ("model=vit_micro", "dataset=digits", "method=lora", "recipe.max_steps=6", "recipe.evaluations=2", "device=cpu")


def real_plan(runs: Path, cache: Path, *words: str, tracker: str = "none") -> tuple[Plan, dict[str, Any]]:
    """A plan of tiny real runs that save every step, and the settings their workers get."""
    words = (*REAL, *words, f"tracker={tracker}", "checkpoint_seconds=0", f"runs={runs}", f"cache={cache}")
    request = read_request(words)
    plan = plan_sweep(request, Resolver())
    return plan, settings_to_plain(settings_from(request.config, plan.name))


_CALM: dict[str, dict[str, Any]] = {}  # run id -> the scores of a real run that nothing happened to


@contextmanager
def started(folder: Path) -> Iterator[Sandbox]:
    """A sandbox of its own; the clients of this process are not pointed at it."""
    if reason := why_not():
        pytest.skip(f"no real SLURM here: {reason}")
    cluster = Sandbox(folder)
    cluster.create(nodes=2)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def time_limited(tmp_path_factory, peftlab_cache) -> Iterator[tuple["Site", Plan, dict[str, Any]]]:
    """A real run that waits in its middle for its job's time limit, on a SLURM of its own: SLURM looks at limits every
    30 s only, so it goes on in the background from the first test to the last."""
    folder = tmp_path_factory.mktemp("limited")
    with started(folder / "slurm") as cluster:
        site = Site(cluster, Store(folder / "runs"))
        plan, settings = real_plan(site.store.root, peftlab_cache)
        with pointed_at(cluster):
            site.sweep(plan, HELD, settings, **LIMITED)
        yield site, plan, settings


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory, time_limited) -> Iterator[Sandbox]:
    with started(tmp_path_factory.mktemp("slurm")) as cluster, pointed_at(cluster):
        yield cluster


@pytest.fixture
def site(sandbox, tmp_path) -> Iterator["Site"]:
    """An empty store on the sandbox; afterwards nothing is left in the queue."""
    yield Site(sandbox, Store(tmp_path / "runs"))
    sandbox.ask("scancel", "--user=root", check=False)
    sandbox.wait(lambda: not sandbox.ask("squeue", "-h"), "an empty queue", seconds=PATIENCE)


class Site:
    """What the tests do again and again."""

    def __init__(self, sandbox: Sandbox, store: Store):
        self.sandbox, self.store = sandbox, store

    def cluster(self, **changes) -> SlurmCluster:
        raw = yaml.safe_load((REPOSITORY / "conf/cluster/slurm.yaml").read_text())
        quick = {"cpus": 1, "memory_gb": [2, 3], "warn_seconds": 60, "run_minutes": 30.0}
        return replace(parse(SlurmCluster, raw | quick, "cluster"), **changes)

    def sweep(self, plan, runner=SLEEPY, settings=None, **changes):
        """The command a person issues, and issues again."""
        write_plan(self.store.root, plan)
        return start(plan, self.store, self.cluster(**changes), settings, runner=runner)

    def step(self, run_id) -> int:
        state = self.store.paths(run_id).checkpoint / "sleepy.json"
        return json.loads(state.read_text())[0] if state.exists() else 0

    def go(self) -> None:
        """No run waits any more."""
        (self.store.root / "go").touch()

    def until(self, ready, what, seconds=PATIENCE):
        """Wait; patience begins anew with every run that has its record, so that a slow machine is no failure."""
        end, records = time.monotonic() + seconds, 0
        while not ready():
            if (now := len(list(self.store.root.glob("*/record.json")))) != records:
                end, records = time.monotonic() + seconds, now
            assert time.monotonic() < end, (
                f"{what}: not within {seconds} s; {self.sandbox.ask('squeue', '-h', check=False)}"
            )
            time.sleep(0.1)

    @contextmanager
    def no_controller(self) -> Iterator[None]:
        """SLURM's controller is away, and our clients do not wait for it for long."""
        conf = self.sandbox.folder / "etc/slurm.conf"
        impatient = conf.with_name("impatient.conf")
        impatient.write_text(conf.read_text().replace("MessageTimeout=60", "MessageTimeout=2"))
        self.sandbox.stop_controller()
        os.environ["SLURM_CONF"] = str(impatient)
        try:
            yield
        finally:
            os.environ["SLURM_CONF"] = str(conf)
            self.sandbox.start_controller()

    def finished(self, plan) -> bool:
        return all(self.store.status(run_id) in ("done", "failed") for run_id in plan.ids)

    def idle(self) -> bool:
        return not self.sandbox.ask("squeue", "-h")  # a controller that is away is no empty queue

    def scores(self, plan) -> dict[str, Any]:
        return scores_of(self.store, plan.ids)

    def starts(self, run_id, what="start") -> int:
        return sleepy.starts(self.store.paths(run_id), what)

    def settle(self, plan, runner=SLEEPY, settings=None, **changes) -> None:
        """Issue the command again until nothing is left to do; then check that nothing was lost, doubled or altered:
        every planned run is done, came to its end exactly once, and has the scores of an undisturbed sweep."""
        for _ in range(3):
            self.until(lambda: self.finished(plan) or self.idle(), "the jobs ended")
            if not self.finished(plan):
                self.sweep(plan, runner, settings, **changes)
        self.until(self.idle, "an empty queue")
        assert self.sweep(plan, runner, settings, **changes).runs == 0
        assert {self.store.status(run_id) for run_id in plan.ids} == {"done"}
        assert [self.starts(run_id, "end") for run_id in plan.ids] == [1] * len(plan.ids)
        assert self.scores(plan) == self.undisturbed(plan, runner, settings)
        assert not list(self.store.root.glob("*/lease.*")), "nobody is at it any more"

    def undisturbed(self, plan, runner, settings) -> dict[str, Any]:
        """The scores of the same runs, done by a worker that nothing happens to. A real run's id says what it is, so it
        is done once in a session."""
        store = Store(self.store.root.parent / "undisturbed")
        if runner == SLEEPY:
            calm = sleepy.plan(len(plan.runs), steps=plan.runs[0].spec["recipe"]["steps"], name=plan.name)
            work_through(store, calm, runner, settings)
            return scores_of(store, plan.ids)
        if missing := [run_id for run_id in plan.ids if run_id not in _CALM]:
            alone = {"runs": str(store.root), "wandb": None}
            work_through(store, plan, DEFAULT_RUNNER, settings | alone, *missing)
            _CALM.update({run_id: scores_of(store, [run_id])[run_id] for run_id in missing})
        return {run_id: _CALM[run_id] for run_id in plan.ids}

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.store.root / "jobs").glob("*/*_log.*")))


def work_through(store, plan, runner, settings, *ids) -> None:
    """A worker of this machine does the plan's runs."""
    write_plan(store.root, plan)
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(store.root), "--plan", plan.name]
    command += ["--runner", runner, "--settings", json.dumps(settings), *ids]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # as cluster.cpus=1 gives
    subprocess.run(command, cwd=REPOSITORY, env=one_thread, check=True)


def scores_of(store, ids) -> dict[str, Any]:
    """Every score of every run."""
    return {i: {name: quantity.value for name, quantity in store.read(i).scores["test"].items()} for i in ids}
