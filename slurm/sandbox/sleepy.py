"""A run that does nothing, for trying out a cluster: it counts steps into a checkpoint, goes on from it, has a score.

`python -m harness.worker --runner slurm.sandbox.sleepy:run …`. Steps and their seconds come from the planned recipe,
and so does trouble: `fail`, `die_on`, `crash_once`, `megabytes`. Every start and end is a line in starts.log, so that a
test can see a run that was done twice, or twice at once. Its plans are no specs: the real runner refuses them.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from harness.ledger.paths import RunPaths, write_whole
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import CLOCKS, Failure, Record
from harness.ledger.spec import SCHEMA
from harness.ledger.store import Store


def plan(count: int, *, steps: int = 1, seconds: float = 0.0, name: str = "sleepy", **recipe: Any) -> Plan:
    """`count` runs of `steps` steps of `seconds` each."""
    parts = {"method": {"name": "none"}, "model": {"name": "none"}, "dataset": {"name": "none"}}
    spec = parts | {"recipe": {"steps": steps, "seconds": seconds} | recipe}
    runs = tuple(Planned(f"{i:016x}", {"method": "none", "seed": i}, spec | {"seed": i}) for i in range(count))
    return Plan(name, runs, (), {})


def run(planned: Planned, store: Store, settings: object, stop: Callable[[], bool]) -> Record | None:
    """One run; None when it was stopped, with its step in the checkpoint."""
    recipe, folder = planned.spec["recipe"], store.paths(planned.id)
    _tell(folder, "start")
    _trouble(recipe, folder)
    state = folder.folder / "sleepy.json"
    step, score = json.loads(state.read_text()) if state.exists() else (0, 1.0)
    while step < recipe["steps"]:
        if stop():
            _tell(folder, "stopped")
            return None
        time.sleep(recipe["seconds"])
        step, score = step + 1, (score * 1.37 + planned.spec["seed"] / 7) % 1.0
        write_whole(state, json.dumps([step, score]))
        event = {"t": time.time(), "event": "step", "step": step, "total": recipe["steps"]}
        with folder.events.open("a") as events:
            events.write(json.dumps(event) + "\n")
    record = _record(planned, score)
    store.write(record)
    _tell(folder, "end")
    return record


def _record(planned: Planned, score: float) -> Record:
    recipe = planned.spec["recipe"]
    failure = Failure(recipe["fail"], "train", recipe["steps"], "asked to fail") if "fail" in recipe else None
    seconds = {clock: NotMeasured("a run that does nothing") for clock in CLOCKS}
    scores = {} if failure else {"test": {"accuracy": Measured(score, "", 1)}}
    status = "failed" if failure else "done"
    return Record(
        SCHEMA, planned.id, planned.spec, status, failure, {}, scores, seconds, {}, {}, {}, {}, {}, (), {}, (), {}
    )


def _trouble(recipe: Mapping[str, Any], folder: RunPaths) -> None:
    once = folder.folder / "crashed"
    dies_here = recipe.get("die_on") == os.environ.get("SLURMD_NODENAME", "?")
    if dies_here or (recipe.get("crash_once") and not once.exists()):
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "megabytes" in recipe:
        eaten = bytearray(recipe["megabytes"] << 20)
        eaten[::4096] = b"x" * len(eaten[::4096])  # every page is really there
        time.sleep(recipe["hold"])


def _tell(folder: RunPaths, what: str) -> None:
    with (folder.folder / "starts.log").open("a") as log:
        log.write(f"{what} {os.getpid()} {time.time():.3f} {__file__}\n")
