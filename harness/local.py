"""The local launcher: some worker processes over one list of runs, a progress bar, and a clean end.

Workers claim runs through leases, so several sweeps (or this one twice) share the work instead of doing it twice.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.ledger.plan import Plan
from harness.ledger.store import Store
from harness.settings import Settings, settings_to_plain
from harness.work import is_settled

POLL_SECONDS = 0.5


def launch(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> int:
    """Do every run of the plan that is missing; 0 when all runs are done, 1 when one failed or is unfinished."""
    console = Console(stderr=True, highlight=False)
    missing = [run.id for run in plan.runs if not is_settled(store, run.id)]
    if not missing:
        console.print(f"{plan.name}: all {len(plan.runs)} runs have a record; nothing to run.")
    else:
        _work_through(plan, missing, store, settings, cluster, console)
    return 0 if all(store.status(run.id) == "done" for run in plan.runs) else 1


def _work_through(
    plan: Plan, missing: list[str], store: Store, settings: Settings, cluster: Mapping[str, Any], console: Console
) -> None:
    count = min(cluster["processes"] or _processes(), len(missing))
    known = len(plan.runs) - len(missing)
    console.print(
        f"{plan.name}: {len(missing)} of {len(plan.runs)} runs to do"
        + (f" ({known} have a record)" if known else "")
        + f", {count} at a time"
    )
    threads = cluster["threads"] or max(1, _cores() // count)
    workers = [_start(plan, missing, settings, threads, i) for i in range(count)]
    try:
        _watch(workers, missing, store, console)
    except BaseException:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        raise


def _processes() -> int:
    """One worker per core, and one for a GPU: small runs gain nothing from threads, and a GPU is not shared."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return 1 if gpus else min(_cores(), 4)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(plan: Plan, ids: list[str], settings: Settings, threads: int, number: int) -> "subprocess.Popen[bytes]":
    """One worker process; what it prints goes to a file beside the runs."""
    log = settings.runs / "workers" / f"{plan.name}-{number}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness.worker", "--runs", str(settings.runs), "--plan", plan.name]
    command += ["--settings", json.dumps(settings_to_plain(settings)), *ids]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL
        )


def _watch(workers: "list[subprocess.Popen[bytes]]", ids: list[str], store: Store, console: Console) -> None:
    """A bar of finished runs until every worker has ended; failures are named as they happen."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=False) as progress:
        task = progress.add_task("runs", total=len(ids))
        pending = set(ids)
        failed = 0
        while True:
            alive = any(worker.poll() is None for worker in workers)
            ended = {run for run in pending if is_settled(store, run)}
            for run in ended:
                if store.status(run) == "failed":
                    failed += 1
                    failure = store.read(run).failure
                    assert failure is not None
                    progress.console.print(
                        f"failed {run} ({failure.kind}): {failure.message.splitlines()[0]}", markup=False
                    )
            pending -= ended
            running = f", {min(len(workers), len(pending))} running" if alive and pending else ""
            done = len(ids) - len(pending) - failed
            label = f"{done} done{running}" + (f", {failed} failed" if failed else "")
            progress.update(task, completed=len(ids) - len(pending), description=label)
            if not alive:
                return
            time.sleep(POLL_SECONDS)
