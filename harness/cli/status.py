"""`peftlab status [SWEEP]`: the matrix of done, running, pending, failed and skipped, and the time left."""

import json
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from harness.cli.launchers import queue_of
from harness.execution.sweep_state import STAGES, Survey, survey
from harness.ledger.lookup import plans, sweeps
from harness.ledger.plan import read_plan
from harness.ledger.quantity import Measured
from harness.ledger.store import Store

WATCH_SECONDS = 2.0
SAMPLE = 30  # done records that the time left is estimated from


def main(given: Namespace) -> int:
    """Exit code 0; the states are in the answer."""
    sweep = given.sweep
    if sweep is None:
        sweeps(given.runs)  # raises when there is none
    if given.json:
        print(json.dumps([to_plain(state, given.runs) for state in _surveys(sweep, given.runs)]))
        return 0
    from harness.cli.status_view import show, watch  # rich is loaded only for people

    if not given.watch:
        for state in _surveys(sweep, given.runs):
            show(state, seconds_left(state, Store(given.runs)))
        return 0
    watch(
        lambda: [(state, seconds_left(state, Store(given.runs))) for state in _surveys(sweep, given.runs)],
        WATCH_SECONDS,
    )
    return 0


def _surveys(sweep: str | None, runs: Path) -> list[Survey]:
    """Of one sweep, or of every one whose plan can be read."""
    queue = queue_of(runs)
    wanted = plans(runs) if sweep is None else [read_plan(runs, sweep)]
    return [survey(plan, Store(runs), queue) for plan in wanted]


def seconds_left(state: Survey, store: Store) -> float | None:
    """Of the whole sweep at its present width; None when nothing runs, or nothing is known yet."""
    running = [row for row in state.rows if row.stage == "running"]
    waiting = state.count("pending") + (state.count("missing") if running else 0)
    typical = _typical_seconds(state, store)
    if not running or (waiting and typical is None):
        return None
    now = [row.progress.seconds_left for row in running if row.progress and row.progress.seconds_left is not None]
    rest = waiting * typical / len(running) if waiting and typical else 0.0
    return (max(now) if now else 0.0) + rest if now or rest else None


def _typical_seconds(state: Survey, store: Store) -> float | None:
    done = [row.id for row in state.rows if row.stage == "done"]
    sample = done[:: max(1, len(done) // SAMPLE)][:SAMPLE]
    walls = [record.seconds.get("wall") for record in store.records(sample)]
    seconds = [wall.value for wall in walls if isinstance(wall, Measured)]
    return median(seconds) if seconds else None


def to_plain(state: Survey, runs: Path) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "sweep": state.name,
        "digest": state.digest,
        "time": time.time(),
        "scheduler_answers": state.scheduler_answers,
        "counts": {stage: state.count(stage) for stage in STAGES} | {"skipped": len(state.skipped)},
        "seconds_left": seconds_left(state, Store(runs)),
        "runs": [asdict(row) for row in state.rows],
        "skipped": [{"choices": dict(each.choices), "why": each.why} for each in state.skipped],
    }
