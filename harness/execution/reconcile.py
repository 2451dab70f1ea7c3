"""Do not launch, reconcile: missing is what the plan wants, no record settles, and no live job is about to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from harness.ledger.errors import PlanError
from harness.ledger.plan import Plan
from harness.ledger.state import State
from harness.ledger.store import Store


@dataclass(frozen=True)
class Todo:
    """The plan's runs, sorted."""

    start: tuple[str, ...]
    alive: tuple[str, ...]
    settled: tuple[str, ...]


def reconcile(plan: Plan, states: Mapping[str, State], alive: Iterable[str] | None) -> Todo:
    """What to start so that the store comes to hold the plan. Pure; the same call again starts nothing twice.

    `alive`: ids in live jobs; None when the scheduler did not answer (no empty queue!). Raises PlanError then.
    """
    if alive is None:
        raise PlanError(
            "the scheduler did not answer (its commands failed, or are not on this machine); submitting now could run "
            "a cell twice. Try again when it answers."
        )
    live = frozenset(alive)
    settled = tuple(run_id for run_id in plan.ids if states[run_id].settled)
    done = frozenset(settled)
    waiting = tuple(run_id for run_id in plan.ids if run_id in live and run_id not in done)
    start = tuple(run_id for run_id in plan.ids if run_id not in live and run_id not in done)
    return Todo(start, waiting, settled)


def scan(store: Store, ids: Iterable[str]) -> dict[str, State]:
    """The state of each run; 10,000 in two seconds. A record that the disk does not give is damaged, for now."""
    return {run_id: _state(store, run_id) for run_id in ids}


def _state(store: Store, run_id: str) -> State:
    try:
        return store.state(run_id)
    except OSError as error:
        return State("damaged", message=f"{error.filename}: {error.strerror}")


def set_record_aside(store: Store, run_id: str, why: str) -> Path:
    """Keep a record under another name, so that the run is missing again. A result is never edited or lost."""
    record = store.root / run_id / "record.json"
    names = (record.with_name(f"record.{why}{number or ''}.json") for number in count())
    return record.rename(next(name for name in names if not name.exists()))
