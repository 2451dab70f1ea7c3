"""The local launcher: some worker processes over one list of runs, a progress bar, and a clean end.

Workers claim runs through leases, so several sweeps (or this one twice) share the work instead of doing it twice.
A worker that is killed is named and replaced; a run that kills two of them is left alone.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from harness.config.settings import Settings, settings_to_plain
from harness.execution.gpus import pin, sharers, visible_gpus
from harness.execution.holder import process_lives, this_process
from harness.execution.jobs import LiveJob
from harness.execution.launcher import CheckResult, DryRun
from harness.execution.lease import look
from harness.execution.local_cluster import LocalCluster
from harness.execution.local_view import SweepView
from harness.execution.queue import is_settled
from harness.execution.supervisor import Start, Supervisor, Worker
from harness.execution.sweep_state import holder_of
from harness.execution.worker import DEFAULT_RUNNER
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned
from harness.ledger.store import Store
from harness.measure.cores import share_of

name = "this machine"
waits = True
POLL_SECONDS = 0.5
MOST_LOOKED_AT = 50  # runs whose events are read twice a second


def launch(
    plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any], *, runner: str = DEFAULT_RUNNER
) -> int:
    """Do every run of the plan that is missing; 0 when all runs are done, 1 when one failed or is unfinished."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    todo = {run.id: run for run in plan.runs if not is_settled(store, run.id)}
    missing = list(todo)
    if not missing:
        console.print(f"{plan.name}: all {len(plan.runs)} runs have a record; nothing to run.")
        return _code(plan, store)
    spec = read_card(cluster)
    count, gpus = _processes(spec, settings, len(missing))
    known = len(plan.runs) - len(missing)
    console.print(
        f"{plan.name}: {len(missing)} of {len(plan.runs)} runs to do"
        + (f" ({known} have a record)" if known else "")
        + f", {count} at a time"
    )
    each = settings.processes
    command = worker_command(plan, settings, runner, sharers(count, gpus, each) if gpus else 1)
    threads = spec.threads or max(1, _cores() // count)

    def start(number: int, ids: Sequence[str]) -> Worker:
        log = settings.runs / "workers" / f"{plan.name}-{number}.log"
        cores = {} if gpus else share_of(number, count)
        return _start([*command, *ids], log, {"OMP_NUM_THREADS": str(threads)} | pin(number, gpus, each) | cores)

    _work_through(todo, count, start, store, console)
    _print_unfinished(plan, missing, store, console)
    return _code(plan, store)


def dry_run(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> DryRun:
    """How many runs, and how many at a time."""
    missing = [run.id for run in plan.runs if not is_settled(store, run.id)]
    count = _processes(read_card(cluster), settings, len(missing))[0] if missing else 0
    return DryRun((f"{plan.name}: {len(missing)} of {len(plan.runs)} runs to do, {count} at a time on this machine",))


def live(runs: Path) -> tuple[LiveJob, ...]:
    """Nothing waits in a queue here: who is at a run is in the run's lease."""
    return ()


def cancel(store: Store, sweep: str, ids: frozenset[str]) -> tuple[str, ...]:
    """Ask the workers of this machine for a checkpoint and an end; their process ids. Those in a job are the
    scheduler's. Raises PlanError for another user's."""
    here, stopped = this_process(), set()
    for run_id in ids:
        lease = look(store.paths(run_id).folder)
        holder = lease.holder if lease and lease.beat else None
        if holder and not holder.job and holder.boot == here.boot and process_lives(holder):
            try:
                os.kill(holder.pid, signal.SIGTERM)
            except PermissionError as error:
                raise PlanError(f"process {holder.pid}, which does run {run_id}, is another user's.") from error
            stopped.add(holder.pid)
    return tuple(map(str, sorted(stopped)))


def logs(store: Store, run_id: str) -> tuple[Path, ...]:
    """None: what a run prints is in its own folder."""
    return ()


def check(cluster: Mapping[str, Any] | None) -> tuple[CheckResult, ...]:
    """Nothing is demanded but a card that can be read. Raises SpecError for one that cannot."""
    if cluster is not None:
        read_card(cluster)
    return ()


def read_card(cluster: Mapping[str, Any]) -> LocalCluster:
    """The parsed card. Raises SpecError for one that is none of its."""
    return parse(LocalCluster, {"kind": "local", "name": "local", "about": {}} | dict(cluster), "cluster")


def at_once(cluster: Mapping[str, Any], settings: Settings) -> tuple[int, int]:
    """Processes, and threads of each, for work beside the runs: one process where there are GPUs.

    A card of another launcher says nothing of this machine.
    """
    is_local = cluster["kind"] == "local"
    spec = read_card(cluster if is_local else {"processes": None, "threads": None})
    count, gpus = _processes(spec, settings, _cores())
    count = 1 if gpus else count
    return count, spec.threads or max(1, _cores() // count)


def _processes(spec: LocalCluster, settings: Settings, runs: int) -> tuple[int, list[str]]:
    """Worker processes, and the GPUs that they share."""
    gpus = [] if settings.device == "cpu" else visible_gpus()
    at_once = max(1, (len(gpus) or min(_cores(), 4)) // settings.processes)
    return min(spec.processes or at_once, runs), gpus


def _code(plan: Plan, store: Store) -> int:
    return 0 if all(store.status(run.id) == "done" for run in plan.runs) else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_command(plan: Plan, settings: Settings, runner: str = DEFAULT_RUNNER, at_once: int = 1) -> list[str]:
    """What starts a worker on a written plan, `at_once` of them on one device; the ids of its runs come after it."""
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(settings.runs), "--plan", plan.address]
    command += ["--at-once", str(at_once)]
    return [*command, "--runner", runner, "--settings", json.dumps(settings_to_plain(settings))]


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Worker:
    """One worker process; what it says goes to a file beside the runs, what a run says to the run's own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", **environment}
    with log.open("ab") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL
        )


def _work_through(runs: Mapping[str, Planned], count: int, start: Start, store: Store, console: Console) -> None:
    """Start the workers and watch them to their end."""
    with SweepView(runs, store, console) as view:
        team = Supervisor(list(runs), store, start, lambda death: view.tell(str(death)))
        with _ended_with_us(team.workers, console):
            team.begin(count)
            pending, alive = set(runs), True
            while alive:
                alive = team.watch()
                begun = _begun(store, pending)
                ended = {run_id for run_id in begun if is_settled(store, run_id)}
                pending -= ended
                view.end(ended)
                view.show(sorted(begun - ended)[:MOST_LOOKED_AT], min(len(team.workers), len(pending)) if alive else 0)
                if alive:
                    time.sleep(POLL_SECONDS)


@contextmanager
def _ended_with_us(workers: list[Worker], console: Console) -> Iterator[None]:
    """Ctrl-C, a SIGTERM, and a terminal that is closed ask the workers for a checkpoint and wait for them; once more
    kills them."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {name: signal.signal(name, interrupt) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except BaseException:
        try:
            for worker in workers:
                worker.terminate()
            with suppress(OSError):  # a terminal that is closed takes no words
                if any(worker.poll() is None for worker in workers):
                    console.print("stopping: each run saves a checkpoint first (Ctrl-C again to kill them)")
            for worker in workers:
                worker.wait()
        except KeyboardInterrupt:
            for worker in workers:
                worker.kill()
        raise
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _begun(store: Store, ids: set[str]) -> set[str]:
    """Those that have a folder: of 10,000 runs that wait, none is looked at twice a second."""
    return ids & {entry.name for entry in os.scandir(store.root)}


def _print_unfinished(plan: Plan, ids: Sequence[str], store: Store, console: Console) -> None:
    """Runs that have no record now, and why not."""
    left = [run_id for run_id in ids if not is_settled(store, run_id)]
    elsewhere = {run_id: where for run_id in left if (where := holder_of(store, run_id))}
    for run_id, where in elsewhere.items():
        console.print(f"{run_id} is being done by another sweep ({where}); follow: peftlab logs {run_id} -f")
    if nobody := [run_id for run_id in left if run_id not in elsewhere]:
        some = ", ".join(nobody[:3]) + (", …" if len(nobody) > 3 else "")
        console.print(
            f"{len(nobody)} runs have no record ({some}). Why: {store.root / 'workers'}/{plan.name}-*.log, and "
            f"peftlab logs RUN. The same command goes on from here.",
            markup=False,
        )
