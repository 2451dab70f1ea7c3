"""A real SLURM for the whole session: two nodes, two partitions, preemption. Skipped where it is not installed."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.ledger.cluster_spec import SlurmCluster
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from slurm.launch import start
from slurm.sandbox import sleepy
from slurm.sandbox.cluster import Sandbox, why_not

REPOSITORY = Path(__file__).resolve().parents[2]
SLEEPY = "slurm.sandbox.sleepy:run"


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


@contextmanager
def pointed_at(cluster: Sandbox) -> Iterator[None]:
    """SLURM's clients talk to this sandbox."""
    before = dict(os.environ)
    os.environ |= cluster.env
    yield
    os.environ.clear()
    os.environ |= before


@pytest.fixture(scope="session")
def time_limited(tmp_path_factory) -> Iterator[tuple["Site", Plan]]:
    """A run longer than its job's time limit, on a SLURM of its own: SLURM looks at limits every 30 s only, so it goes
    on in the background from the first test to the last."""
    folder = tmp_path_factory.mktemp("limited")
    with started(folder / "slurm") as cluster:
        site, plan = Site(cluster, Store(folder / "runs")), sleepy.plan(1, steps=50, seconds=1.0)
        with pointed_at(cluster):
            site.sweep(plan, limit_minutes=1, warn_seconds=15)
        yield site, plan


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory, time_limited) -> Iterator[Sandbox]:
    with started(tmp_path_factory.mktemp("slurm")) as cluster, pointed_at(cluster):
        yield cluster


@pytest.fixture
def site(sandbox, tmp_path) -> Iterator["Site"]:
    """An empty store on the sandbox; afterwards nothing is left in the queue."""
    yield Site(sandbox, Store(tmp_path / "runs"))
    sandbox.ask("scancel", "--user=root", check=False)
    sandbox.wait(lambda: not sandbox.ask("squeue", "-h", check=False), "an empty queue", seconds=40)


class Site:
    """What the tests do again and again."""

    def __init__(self, sandbox: Sandbox, store: Store):
        self.sandbox, self.store = sandbox, store

    def cluster(self, **changes) -> SlurmCluster:
        raw = yaml.safe_load((REPOSITORY / "conf/cluster/slurm.yaml").read_text())
        quick = {"cpus": 1, "memory_gb": [2, 3], "warn_seconds": 10, "run_minutes": 30.0}
        return replace(parse(SlurmCluster, raw | quick, "cluster"), **changes)

    def sweep(self, plan, runner=SLEEPY, **changes):
        """The command a person issues, and issues again."""
        write_plan(self.store.root, plan)
        return start(plan, self.store, self.cluster(**changes), None, runner=runner)

    def step(self, run_id) -> int:
        state = self.store.paths(run_id).folder / "sleepy.json"
        return json.loads(state.read_text())[0] if state.exists() else 0

    def until(self, ready, what, seconds=60):
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, (
                f"{what}: not within {seconds} s; {self.sandbox.ask('squeue', '-h', check=False)}"
            )
            time.sleep(0.1)

    def finished(self, plan) -> bool:
        return all(self.store.status(run_id) in ("done", "failed") for run_id in plan.ids)

    def idle(self) -> bool:
        return not self.sandbox.ask("squeue", "-h", check=False)

    def scores(self, plan) -> dict[str, float]:
        return {run_id: self.store.read(run_id).scores["test"]["accuracy"].value for run_id in plan.ids}

    def starts(self, run_id, what="start") -> int:
        lines = (self.store.paths(run_id).folder / "starts.log").read_text().splitlines()
        return sum(line.startswith(what + " ") for line in lines)

    def undisturbed(self, plan) -> dict[str, float]:
        """The scores of the same plan, run in this process without any sleep."""
        store = Store(self.store.root.parent / "undisturbed")
        for run in sleepy.plan(len(plan.runs), steps=plan.runs[0].spec["recipe"]["steps"]).runs:
            store.paths(run.id).folder.mkdir(parents=True, exist_ok=True)
            sleepy.run(run, store, None, lambda: False)
        return {run_id: store.read(run_id).scores["test"]["accuracy"].value for run_id in plan.ids}

    def settle(self, plan, **changes) -> None:
        """Issue the command until nothing is left to do; then check that nothing was lost, doubled or altered."""
        self.until(lambda: self.finished(plan) or self.idle(), "the jobs ended", 90)
        if not self.finished(plan):
            self.sweep(plan, **changes)
            self.until(lambda: self.finished(plan), "every record", 90)
        self.until(self.idle, "an empty queue", 30)
        assert self.sweep(plan, **changes).runs == 0
        assert [self.starts(run_id, "end") for run_id in plan.ids] == [1] * len(plan.ids)
        assert self.scores(plan) == self.undisturbed(plan)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.store.root / "jobs").glob("*/*_log.*")))
