"""`python -m slurm.sandbox.chaos [--runs 500] [--seed 0]`: a sweep on a SLURM of its own, attacked at random.

The runs do nothing (`sleepy`). Workers are killed or stopped for a while, jobs requeued and cancelled, nodes and the
controller go away and come back, files of the store are damaged, its disk is full for a while (where a tmpfs can be
mounted for it), clocks are wrong, and two shells submit at once. At the end each run must be done exactly once, with
the score of an undisturbed sweep, and what `status` says must agree with the files.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from harness.cli.launchers import queue_of
from harness.execution.sweep_state import survey
from harness.ledger.errors import HarnessError, PlanError
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from slurm.sandbox import sleepy
from slurm.sandbox.attacks import ATTACKS, AttackTarget
from slurm.sandbox.cluster import Sandbox, pointed_at

EVERY = 1.0  # seconds between attacks
DISK = "64m"  # of the store: soon full
QUIET = 300  # looks at a store in which nothing moves before the soak gives up


def soak(sandbox: Sandbox, runs: Path, count: int, seed: int, emit: Callable[[str], None]) -> list[str]:
    """Attack until every run has its record; returns what is wrong at the end, [] when nothing is.

    `runs` is no folder yet, or an empty one.
    """
    with small_disk(runs):
        return _soak(sandbox, runs, count, seed, emit)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own for the folder, where this machine lets us mount one; else it is a plain folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "peftlab", str(folder)], capture_output=True, check=False
    )
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _soak(sandbox: Sandbox, runs: Path, count: int, seed: int, emit: Callable[[str], None]) -> list[str]:
    plan, store, random = sleepy.plan(count, steps=4, seconds=0.25, name="chaos"), Store(runs), Random(seed)
    write_plan(runs, plan)
    target = AttackTarget(sandbox, store, plan, random)
    target.submit()
    outcomes: Counter[str] = Counter()
    quiet, before, lies = 0, "", set[str]()
    while quiet < QUIET and not _finished(plan, store):
        name = random.choice(sorted(ATTACKS))
        outcome = _attack(name, target)
        outcomes[f"{name}: {outcome}"] += 1
        emit(f"{_done(plan, store):>5} done; {name}: {outcome}")
        time.sleep(EVERY)
        target.heal()
        lies |= set(contradictions(plan, store))
        now = _trace(plan, store)
        quiet, before = (quiet + 1, before) if now == before else (0, now)
    target.calm()
    for words, times in sorted(outcomes.items()):
        emit(f"{times:>5} × {words}")
    return [*wrong(plan, store, runs.with_name("undisturbed")), *sorted(lies)]


def _attack(name: str, target: AttackTarget) -> str:
    try:
        return ATTACKS[name](target)
    except PlanError as error:
        return f"SLURM did not do it ({str(error).splitlines()[0]})"


def contradictions(plan: Plan, store: Store) -> list[str]:
    """What status says against the files; a run may come to its end between the two looks, never go back."""
    before = {run_id: store.status(run_id) for run_id in plan.ids}
    rows = survey(plan, store, queue_of(store.root)).rows
    after = {run_id: store.status(run_id) for run_id in plan.ids}
    stages = {row.id: row.stage for row in rows}
    done_too_soon = [i for i in plan.ids if stages[i] == "done" and after[i] != "done"]
    not_done = [i for i in plan.ids if stages[i] != "done" and before[i] == after[i] == "done"]
    return [f"{i}: status says {stages[i]}, its files {before[i]}, then {after[i]}" for i in done_too_soon + not_done]


def wrong(plan: Plan, store: Store, calm: Path) -> list[str]:
    """Runs that are not done, that came to their end more than once, or whose score is another than undisturbed."""
    undisturbed = Store(calm)
    words = []
    for run in plan.runs:
        ends = sleepy.starts(store.paths(run.id), "end")
        if store.status(run.id) != "done" or ends > 1:  # none: killed between its record and that line
            words.append(f"{run.id} is {store.status(run.id)} and came to its end {ends} times")
            continue
        undisturbed.paths(run.id).folder.mkdir(parents=True, exist_ok=True)
        quick = sleepy.hurried(run)
        if (record := sleepy.run(quick, undisturbed, None, lambda: False)) is None:
            raise AssertionError("nobody stops it")
        if record.scores != store.read(run.id).scores:
            words.append(f"{run.id} has another score than in an undisturbed sweep")
    return words


def _finished(plan: Plan, store: Store) -> bool:
    return _done(plan, store) == len(plan.runs)


def _done(plan: Plan, store: Store) -> int:
    return sum(store.status(run_id) == "done" for run_id in plan.ids)


def _trace(plan: Plan, store: Store) -> str:
    """Changes whenever a run is begun, stopped or ended."""
    logs = (store.paths(run_id).folder / "starts.log" for run_id in plan.ids)
    return " ".join(str(log.stat().st_size) for log in logs if log.exists())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m slurm.sandbox.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="of the sweep")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder) / "slurm")
        try:
            sandbox.create()
            sandbox.start()
            with pointed_at(sandbox):
                words = soak(
                    sandbox, Path(folder) / "runs", given.runs, given.seed, lambda line: print(line, flush=True)
                )
        except HarnessError as error:
            print(error, file=sys.stderr)
            return 2
        finally:
            if (sandbox.folder / "etc/slurm.conf").exists():
                sandbox.stop()
    print("\n".join(words) or f"each of {given.runs} runs is done exactly once (seed {given.seed}).")
    return 1 if words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
