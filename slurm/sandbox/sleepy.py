"""A run that does nothing, for trying out a cluster: it counts steps into a checkpoint, goes on from it, has a score.

`python -m harness.execution.worker --runner slurm.sandbox.sleepy:run …`. Steps and their seconds come from the
planned recipe, and so does trouble: `fail`, `fail_once`, `die_on`, `crash_once`, `megabytes`. `hold_at` is the step at
which the first start waits to be disturbed (a second start passes, and so does every start once there is a file `go` in
the store).
Every start and end is a line in starts.log, so that a test can see a run that was done twice, or twice at once.
Its plans are no specs: the real runner refuses them. `held` is a real run that waits likewise.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.config.settings import Settings
from harness.ledger.paths import RunPaths, write_whole
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured
from harness.ledger.record import Failure, Record, failure_record
from harness.ledger.store import Store

HELD_AT = 3  # the step at which a `held` run waits


def plan(count: int, *, steps: int = 1, seconds: float = 0.0, name: str = "sleepy", **recipe: Any) -> Plan:
    """`count` runs of `steps` steps of `seconds` each."""
    parts = {"method": {"name": "none"}, "model": {"name": "none"}, "dataset": {"name": "none"}}
    spec = parts | {"recipe": {"name": "none", "steps": steps, "seconds": seconds} | recipe}
    runs = tuple(Planned(f"{i:016x}", {"method": "none", "seed": i}, spec | {"seed": i}) for i in range(count))
    return Plan(name, runs, (), {})


def run(planned: Planned, store: Store, settings: Settings | None, stop: Callable[[], bool]) -> Record | None:
    """One run; None when it was stopped, with its step in the checkpoint."""
    recipe, folder = planned.spec["recipe"], store.paths(planned.id)
    _note(folder, "start")
    _trouble(recipe, folder)
    state = folder.checkpoint / "sleepy.json"
    step, score = json.loads(state.read_text()) if state.exists() else (0, 1.0)
    while step < recipe["steps"]:
        if step == recipe.get("hold_at"):
            _hold(folder, stop)
        if stop():
            _save(folder, step, score)
            _note(folder, "stopped")
            return None
        time.sleep(recipe["seconds"])
        step, score = step + 1, (score * 1.37 + planned.spec["seed"] / 7) % 1.0
        _save(folder, step, score)
        event = {"t": time.time(), "event": "step", "step": step, "total": recipe["steps"]}
        with folder.events.open("a") as events:
            events.write(json.dumps(event) + "\n")
    record = _record(planned, score, folder)
    store.write(record)
    _note(folder, "end" if record.status == "done" else "failed")
    return record


def held(planned: Planned, store: Store, settings: Settings | None, stop: Callable[[], bool]) -> Record | None:
    """A real run whose first start waits after step HELD_AT (with `checkpoint_seconds=0` that step is saved)."""
    from harness.execution import runner  # torch

    folder = store.paths(planned.id)
    _note(folder, "start")
    asked = 0

    def wait_then_ask() -> bool:
        nonlocal asked
        asked += 1
        if asked == HELD_AT:
            _note(folder, "held")
            _hold(folder, stop)
        return stop()

    record = runner.run(planned, store, settings, wait_then_ask)
    _note(folder, "stopped" if record is None else "end")
    return record


def hurried(planned: Planned) -> Planned:
    """The same run, without its waiting: the same score."""
    return replace(planned, spec={**planned.spec, "recipe": {**planned.spec["recipe"], "seconds": 0.0}})


def starts(folder: RunPaths, what: str = "start") -> int:
    """How often a run was begun: `start`; or came to its `end`, was `stopped`, `failed`, was `held`."""
    log = folder.folder / "starts.log"
    return sum(line.startswith(what + " ") for line in log.read_text().splitlines()) if log.exists() else 0


def _hold(folder: RunPaths, stop: Callable[[], bool]) -> None:
    while starts(folder) == 1 and not (folder.folder.parent / "go").exists() and not stop():
        time.sleep(0.05)


def _save(folder: RunPaths, step: int, score: float) -> None:
    home = folder.checkpoint
    home.mkdir(exist_ok=True)
    write_whole(home / "sleepy.json", json.dumps([step, score]))


def _record(planned: Planned, score: float, folder: RunPaths) -> Record:
    recipe = planned.spec["recipe"]
    kind = recipe.get("fail") or (recipe.get("fail_once") if starts(folder) == 1 else None)
    failure = Failure(kind or "exception", "train", recipe["steps"], "asked to fail")
    record = failure_record(planned.id, planned.spec, failure, "a run that does nothing")
    scores = {"test": {"accuracy": Measured(score, "", 1)}}
    return record if kind else replace(record, status="done", failure=None, scores=scores)


def _trouble(recipe: Mapping[str, Any], folder: RunPaths) -> None:
    dies_here = recipe.get("die_on") == os.environ.get("SLURMD_NODENAME", "?")
    if dies_here or (recipe.get("crash_once") and starts(folder) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if "megabytes" in recipe:
        eaten = bytearray(recipe["megabytes"] << 20)
        eaten[::4096] = b"x" * len(eaten[::4096])  # every page is really there
        while starts(folder) == 1:  # until SLURM kills it; with more memory it goes through
            time.sleep(0.1)


def _note(folder: RunPaths, what: str) -> None:
    with (folder.folder / "starts.log").open("a") as log:
        log.write(f"{what} {os.getpid()} {time.time():.3f} {__file__}\n")
