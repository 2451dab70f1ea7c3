"""What the soak does to a sweep: each attack returns what came of it, in a few words."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from harness.execution.holder import Holder, process_lives
from harness.execution.lease import look
from harness.ledger.errors import PlanError
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from slurm.cluster_spec import SlurmCluster
from slurm.launch import start
from slurm.sandbox.cluster import Sandbox

LOOKS = 50  # for a worker, before an attack is given up
RUNNER = "slurm.sandbox.sleepy:run"
CLUSTER = SlurmCluster(
    kind="slurm", name="chaos", partition=None, account=None, qos=None, constraint=None, gpus=0, cpus=1,
    memory_gb=(1, 2, 3), minutes=30, run_minutes=1.0, limit_minutes=None, max_pack=10, at_once=1, concurrency=None,
    submit_limit=None, warn_seconds=60, requeues=3, bad_node_after=10**6, exclude=(), setup=(), extra={}, about={},
)  # fmt: skip


@dataclass
class AttackTarget:
    """The sweep that is attacked, and what has to be undone."""

    sandbox: Sandbox
    store: Store
    plan: Plan
    random: Random
    stopped: list[int] = field(default_factory=list)  # processes that stand still
    down: list[str] = field(default_factory=list)  # nodes

    @property
    def ballast(self) -> Path:
        """What fills the disk of the store."""
        return self.store.root / ".ballast"

    def submit(self) -> str:
        """The command a person issues again and again."""
        try:
            return (
                "submitted" if start(self.plan, self.store, CLUSTER, None, runner=RUNNER).runs else "nothing to submit"
            )
        except PlanError:
            return "SLURM did not answer"

    def heal(self) -> None:
        """What was stopped goes on, nodes come back; when nothing is queued, somebody sweeps again."""
        self._undo()
        if not self.sandbox.ask("squeue", "-h", check=False):
            self.submit()

    def calm(self) -> None:
        """Everything goes on, and the queue runs empty."""
        self._undo()
        self.sandbox.ask("scancel", "--user=root", check=False)
        self.sandbox.wait(lambda: not self.sandbox.ask("squeue", "-h"), "an empty queue", seconds=600)

    def holder(self) -> Holder | None:
        """A worker that is at a run; waits a little for one."""
        for _ in range(LOOKS):
            folders = sorted({path.parent for path in self.store.root.glob("*/lease.*")})
            holders = [seen.holder for folder in folders if (seen := look(folder)) and seen.holder and seen.beat]
            if alive := [each for each in holders if each.job and process_lives(each)]:
                return self.random.choice(alive)
            time.sleep(0.2)
        return None

    def _undo(self) -> None:
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped.clear()
        self.ballast.unlink(missing_ok=True)
        while self.down:
            self.sandbox.start_node(self.down.pop())


def _kill(target: AttackTarget) -> str:
    if (holder := target.holder()) is None:
        return "nobody works"
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGKILL)
    return "killed"


def _stop(target: AttackTarget) -> str:
    if (holder := target.holder()) is None:
        return "nobody works"
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGSTOP)
        target.stopped.append(holder.pid)
    return "stopped, and went on"


def _requeue(target: AttackTarget) -> str:
    if (holder := target.holder()) is None:
        return "nobody works"
    target.sandbox.ask("scontrol", "requeue", holder.job, check=False)
    return "asked"


def _scancel(target: AttackTarget) -> str:
    if (holder := target.holder()) is None:
        return "nobody works"
    target.sandbox.ask("scancel", holder.job, check=False)
    return "cancelled"


def _node(target: AttackTarget) -> str:
    node = target.random.choice(target.sandbox.nodes())
    target.sandbox.kill_node(node)
    target.down.append(node)
    return "went down, and came back"


def _controller(target: AttackTarget) -> str:
    target.sandbox.stop_controller()
    target.sandbox.start_controller()
    return "restarted"


def _damage(target: AttackTarget) -> str:
    """Garbage where no result is lost: at the end of an event log or of the deaths, in a submission that is over."""
    root = target.store.root
    patterns = ("*/events.jsonl", "jobs/deaths.jsonl", "jobs/*/submission.json")
    files = sorted(file for pattern in patterns for file in root.glob(pattern))
    if not files:
        return "no file yet"
    file = target.random.choice(files)
    if file.name == "submission.json":
        if target.sandbox.ask("squeue", "-h", "-n", file.parent.name):
            return "a submission in use was spared"
        file.write_bytes(b"\xff" + file.read_bytes())
    else:
        with file.open("ab") as end:
            end.write(b'\xff\x00{"t": \n')
    return f"{file.name} got bad bytes"


def _skew(target: AttackTarget) -> str:
    """A heartbeat as a node writes it whose clock is an hour behind or ahead."""
    if (holder := target.holder()) is None:
        return "nobody works"
    hours = target.random.choice((-1, 1))
    stamp = time.time() + 3600 * hours
    for own in target.store.root.glob(f"*/.lease.{holder.nonce}"):
        with suppress(FileNotFoundError):
            os.utime(own, (stamp, stamp))
    return f"a heartbeat {'ahead' if hours > 0 else 'behind'}"


def _full_disk(target: AttackTarget) -> str:
    if not os.path.ismount(target.store.root):
        return "the store has no disk of its own"
    with suppress(OSError), target.ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return "full, and room again"


def _two_submitters(target: AttackTarget) -> str:
    with ThreadPoolExecutor(2) as shells:
        outcomes = sorted(each.result() for each in [shells.submit(target.submit) for _ in range(2)])
    return " and ".join(outcomes)


ATTACKS: dict[str, Callable[[AttackTarget], str]] = {
    "kill a worker": _kill,
    "stop a worker": _stop,
    "requeue": _requeue,
    "scancel": _scancel,
    "node": _node,
    "controller": _controller,
    "bad bytes": _damage,
    "clock": _skew,
    "full disk": _full_disk,
    "two submitters": _two_submitters,
}
