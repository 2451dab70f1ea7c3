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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.config.settings import Settings, settings_to_plain
from harness.execution.queue import DEATHS_OF_A_RUN, held_by, is_settled
from harness.execution.sweep_state import holder_of
from harness.execution.worker import DEFAULT_RUNNER, how_it_ended
from harness.ledger.plan import Plan
from harness.ledger.progress import progress
from harness.ledger.store import Store

POLL_SECONDS = 0.5
MOST_LOOKED_AT = 50  # runs whose events are read twice a second
Worker = subprocess.Popen[bytes]


def launch(
    plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any], *, runner: str = DEFAULT_RUNNER
) -> int:
    """Do every run of the plan that is missing; 0 when all runs are done, 1 when one failed or is unfinished."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    missing = [run.id for run in plan.runs if not is_settled(store, run.id)]
    if not missing:
        console.print(f"{plan.name}: all {len(plan.runs)} runs have a record; nothing to run.")
        return _code(plan, store)
    count = min(cluster["processes"] or _processes(), len(missing))
    known = len(plan.runs) - len(missing)
    console.print(
        f"{plan.name}: {len(missing)} of {len(plan.runs)} runs to do"
        + (f" ({known} have a record)" if known else "")
        + f", {count} at a time"
    )
    command = _command(plan, settings, runner)
    threads = cluster["threads"] or max(1, _cores() // count)

    def start(number: int, ids: Sequence[str]) -> Worker:
        return _start([*command, *ids], settings.runs / "workers" / f"{plan.name}-{number}.log", threads)

    _work_through(missing, count, start, store, console)
    _tell_what_is_left(plan, missing, store, console)
    return _code(plan, store)


def _code(plan: Plan, store: Store) -> int:
    return 0 if all(store.status(run.id) == "done" for run in plan.runs) else 1


def _processes() -> int:
    """One worker per core, and one for a GPU: small runs gain nothing from threads, and a GPU is not shared."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return 1 if gpus else min(_cores(), 4)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _command(plan: Plan, settings: Settings, runner: str) -> list[str]:
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(settings.runs), "--plan", plan.address]
    return [*command, "--runner", runner, "--settings", json.dumps(settings_to_plain(settings))]


def _start(command: Sequence[str], log: Path, threads: int) -> Worker:
    """One worker process; what it says goes to a file beside the runs, what a run says to the run's own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    with log.open("ab") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL
        )


def _work_through(
    ids: Sequence[str], count: int, start: Callable[[int, Sequence[str]], Worker], store: Store, console: Console
) -> None:
    """Start the workers, watch them to their end, and replace those that are killed."""
    workers: list[Worker] = []
    deaths: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with _ended_with_us(workers, console), Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        workers += [start(number, ids) for number in range(count)]
        task = bar.add_task("runs", total=len(ids))
        pending, failed = set(ids), 0
        while True:
            killed = [number for number, worker in enumerate(workers) if how_it_ended(worker.poll() or 0) < 0]
            alive = any(worker.poll() is None for worker in workers) or bool(killed)
            begun = _begun(store, pending)
            ended = {run_id for run_id in begun if is_settled(store, run_id)}
            pending -= ended
            failed += _tell_failures(ended, store, bar.console)
            running = f", {min(len(workers), len(pending))} running" if alive and pending else ""
            label = f"{len(ids) - len(pending) - failed} done{running}" + (f", {failed} failed" if failed else "")
            partly = sum(_share(store, run_id) for run_id in sorted(begun - ended)[:MOST_LOOKED_AT])
            bar.update(task, completed=len(ids) - len(pending) + partly, description=label)
            for number in killed:
                held = held_by(workers[number].pid, [i for i in ids if i in pending], store)
                deaths.update(held or pending)  # it died before its first run: without a culprit there would be no end
                bar.console.print(_crash_message(workers[number], held, deaths), markup=False)
                rest = [i for i in ids if i in pending and deaths[i] < DEATHS_OF_A_RUN]
                workers[number : number + 1] = [start(number, rest)] if rest else []
            if not alive:
                return
            time.sleep(POLL_SECONDS)


@contextmanager
def _ended_with_us(workers: list[Worker], console: Console) -> Iterator[None]:
    """Ctrl-C, and a SIGTERM of ours, ask the workers for a checkpoint and wait for them; once more kills them."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:
        try:
            for worker in workers:
                worker.terminate()
            if any(worker.poll() is None for worker in workers):
                console.print("stopping: each run saves a checkpoint first (Ctrl-C again to kill them)")
            for worker in workers:
                worker.wait()
        except KeyboardInterrupt:
            for worker in workers:
                worker.kill()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _begun(store: Store, ids: set[str]) -> set[str]:
    """Those that have a folder: of 10,000 runs that wait, none is looked at twice a second."""
    return ids & {entry.name for entry in os.scandir(store.root)}


def _share(store: Store, run_id: str) -> float:
    """How much of a run is done, so that there is a time left before the first run has ended."""
    at = progress(store.paths(run_id).events)
    return at.step / at.total if at and at.total else 0.0


def _tell_failures(ids: set[str], store: Store, console: Console) -> int:
    """Name those that failed; how many there were."""
    failed = [run_id for run_id in sorted(ids) if store.status(run_id) == "failed"]
    for record in store.records(failed):
        if failure := record.failure:
            console.print(f"failed {record.id} ({failure.kind}): {failure.message.splitlines()[0]}", markup=False)
    return len(failed)


def _crash_message(worker: Worker, held: Sequence[str], deaths: Mapping[str, int]) -> str:
    how = signal.Signals(-worker.returncode).name
    guess = " (the kernel does that to a process when memory runs out)" if how == "SIGKILL" else ""
    left = [run_id for run_id in held if deaths[run_id] >= DEATHS_OF_A_RUN]
    then = f"; {', '.join(left)} killed {DEATHS_OF_A_RUN} workers and is left alone" if left else ""
    return f"worker {worker.pid} died of {how}{guess} while it ran {', '.join(held) or 'nothing yet'}{then}"


def _tell_what_is_left(plan: Plan, ids: Sequence[str], store: Store, console: Console) -> None:
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
