"""What a store holds, by name: its sweeps, their plans, and the run that a prefix of an id means."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from harness.ledger.errors import PlanError, RecordError
from harness.ledger.plan import Plan, read_plan
from harness.ledger.store import Store

log = logging.getLogger("peftlab.store")
_ID = re.compile("[0-9a-f]{16}")


def sweeps(runs: Path) -> list[str]:
    """Every sweep that was planned in this store. Raises PlanError when there is none."""
    if names := _planned(runs):
        return names
    raise PlanError(f"no sweep was planned in {runs}; start one with: peftlab sweep sweep=quickstart")


def plans(runs: Path) -> Iterator[Plan]:
    """The newest plan of each sweep; one that cannot be read is named in a warning and left out."""
    for name in _planned(runs):
        try:
            yield read_plan(runs, name)
        except PlanError as error:
            log.warning("%s", error)


def find_run(store: Store, prefix: str) -> str:
    """The run that a prefix of an id means: one that has a folder, else one that is planned.

    Raises RecordError when there is none, or more than one.
    """
    begun = {path.name for path in store.root.glob("*") if _ID.fullmatch(path.name)}
    ids = sorted(run_id for run_id in begun if run_id.startswith(prefix))
    if not ids:
        ids = sorted({run_id for plan in plans(store.root) for run_id in plan.ids if run_id.startswith(prefix)})
    if len(ids) == 1:
        return ids[0]
    several = f"{len(ids)} runs begin so: {', '.join(ids[:5])}" if ids else "no run begins so"
    raise RecordError(f"run '{prefix}': {several} in {store.root}; `peftlab status` shows what there is.")


def _planned(runs: Path) -> list[str]:
    return sorted(path.stem for path in (runs / "plans").glob("[!.]*.json"))
