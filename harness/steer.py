"""`peftlab retry`, `cancel` and `logs`: steer a sweep. No record is edited: a retried one is set aside."""

import argparse
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import get_args

from harness.lease import look, process_lives, this_process
from harness.ledger.errors import PlanError, RecordError, SpecError, nearest
from harness.ledger.plan import read_plan
from harness.ledger.record import FailureKind
from harness.ledger.store import Store
from harness.live import live_jobs
from harness.reconcile import scan, set_record_aside
from harness.status import parse_args, sweeps
from harness.survey import holder_of

FOLLOW_SECONDS = 0.5


def retry(argv: list[str]) -> int:
    """`peftlab retry sweep=NAME | RUN [--failed KIND]`: make failed runs missing, so that the next sweep does them."""
    parser = argparse.ArgumentParser(prog="peftlab retry", description=retry.__doc__)
    parser.add_argument(
        "--failed", metavar="KIND", help=f"only failures of this kind: {', '.join(get_args(FailureKind))}"
    )
    given, words = parse_args(parser, argv, ("run", "sweep"))
    if given.failed and given.failed not in get_args(FailureKind):
        raise SpecError(f"--failed: unknown kind '{given.failed}'.{nearest(given.failed, get_args(FailureKind))}")
    store = Store(given.runs)
    ids = [find_run(store, words["run"])] if "run" in words else read_plan(given.runs, _sweep(given.runs, words)).ids
    states = scan(store, ids)
    chosen = [i for i in ids if states[i].status == "failed" and given.failed in (None, states[i].kind)]
    for run_id in chosen:
        set_record_aside(store, run_id, "failed")
    if given.json:
        print(json.dumps({"retried": chosen}))
    else:
        print(f"{len(chosen)} failed runs are missing again; issue your sweep command to do them.")
    return 0


def cancel(argv: list[str]) -> int:
    """`peftlab cancel sweep=NAME`: end its jobs and local runs. They keep their checkpoints; a new sweep goes on."""
    parser = argparse.ArgumentParser(prog="peftlab cancel", description=cancel.__doc__)
    given, words = parse_args(parser, argv, ("sweep",))
    store, ids = Store(given.runs), frozenset(read_plan(given.runs, _sweep(given.runs, words)).ids)
    live = live_jobs(given.runs)
    if live is None:
        raise PlanError("SLURM does not answer; nothing was cancelled. Try again when squeue works.")
    jobs = [job.job for job in live if ids & set(job.ids)]
    if jobs:
        subprocess.run(["scancel", *jobs], check=True, timeout=60)
    pids = _stop_local(store, ids)
    if given.json:
        print(json.dumps({"jobs": jobs, "processes": pids}))
    else:
        print(
            f"cancelled {len(jobs)} jobs and {len(pids)} local processes; a new sweep goes on from their checkpoints."
        )
    return 0


def _stop_local(store: Store, ids: frozenset[str]) -> list[int]:
    """Ask the workers of this machine for a checkpoint and an end; SLURM's own are left to scancel."""
    here, stopped = this_process(), set()
    for run_id in ids:
        seen = look(store.paths(run_id).folder)
        holder = seen.holder if seen and seen.beat else None
        if holder and not holder.job and holder.boot == here.boot and process_lives(holder):
            os.kill(holder.pid, signal.SIGTERM)
            stopped.add(holder.pid)
    return sorted(stopped)


def logs(argv: list[str]) -> int:
    """`peftlab logs RUN [-f]`: what a run printed; `-f` follows it to its end. A prefix of its id will do."""
    parser = argparse.ArgumentParser(prog="peftlab logs", description=logs.__doc__)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the run has its record, or has stopped"
    )
    given, words = parse_args(parser, argv, ("run",))
    if "run" not in words:
        raise SpecError("logs needs a run: peftlab logs RUN; `peftlab status --json` lists their ids.")
    store = Store(given.runs)
    run_id = find_run(store, words["run"])
    path = log_of(store, run_id)
    with path.open(errors="replace") as file:
        print(file.read(), end="")
        while given.follow and holder_of(store, run_id):
            time.sleep(FOLLOW_SECONDS)
            print(file.read(), end="", flush=True)
        print(file.read(), end="")
    return 0


def find_run(store: Store, word: str) -> str:
    """The run that a prefix of an id means. Raises RecordError when there is none, or more than one."""
    found = sorted(path.name for path in store.root.glob(f"{word}*") if _is_id(path.name))
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} runs begin so: {', '.join(found[:5])}" if found else "no run begins so"
    raise RecordError(f"run '{word}': {several} in {store.root}; `peftlab status` shows what there is.")


def log_of(store: Store, run_id: str) -> Path:
    """Where a run's words are: its own log, the SLURM job's, or its events. Raises RecordError when it said nothing."""
    folder = store.paths(run_id)
    seen = look(folder.folder)
    job = seen.holder.job if seen and seen.holder else ""
    of_job = sorted((store.root / "jobs").glob(f"*/{job}_0_log.out")) if job else []
    for path in (folder.log, *of_job, folder.events):
        if path.is_file():
            return path
    raise RecordError(f"run {run_id} has said nothing yet; `peftlab status` shows whether it runs.")


def _is_id(name: str) -> bool:
    return len(name) == 16 and all(letter in "0123456789abcdef" for letter in name)


def _sweep(runs: Path, words: dict[str, str]) -> str:
    """The sweep that was named; the only one when none was. Raises PlanError when that is not clear."""
    known = sweeps(runs)
    if "sweep" in words:
        return words["sweep"]
    if len(known) > 1:
        raise PlanError(f"which sweep? sweep=NAME with one of: {', '.join(known)}")
    return known[0]
