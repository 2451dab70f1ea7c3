"""`peftlab explain` and `peftlab diff`: why a run would be done, or not, and what tells two runs apart."""

import json
from argparse import Namespace
from typing import Any

from rich.console import Console

from harness.cli.cost_view import show_cost
from harness.cli.launchers import queue_of
from harness.cli.present_data import of_present_data
from harness.cli.tables import folding_table
from harness.config.resolve import PARTS, Resolver
from harness.config.settings import Settings, settings_from
from harness.execution.sweep_state import RunRow, survey
from harness.ledger.differences import differences
from harness.ledger.errors import RecordError
from harness.ledger.lookup import find_run, plans
from harness.ledger.plan import Plan, Planned, lineage
from harness.ledger.store import Store
from harness.planning.plan import PlanRequest, plan_one, request_of

console = Console(highlight=False, soft_wrap=True)


def explain(given: Namespace) -> int:
    """`peftlab explain RUN` or `peftlab explain method=… seed=…`: its state, why it would be done (or not), and how the
    nearest run differs. `--cost`: where its time and memory went."""
    request = request_of(given.overrides)
    settings = settings_from(request.config)
    store = Store(settings.runs)
    planned = planned_run(store, given.run) if given.run else _asked(request, store, settings)
    if given.cost:
        return show_cost(store, planned.id, given.json)
    reason = _reason(planned, store)
    if given.json:
        print(json.dumps({"id": planned.id, "choices": dict(planned.choices)} | reason))
        return 0
    words = [f"{key}={value}" for key, value in planned.choices.items()]
    console.print(f"run {planned.id} ({' '.join(words)}) is {reason['status']}: {reason['why']}", markup=False)
    for key, (here, there) in reason.get("differs", {}).items():
        console.print(f"  {key}: {here!r} here, {there!r} in {reason['nearest']}", markup=False)
    return 0


def _asked(request: PlanRequest, store: Store, settings: Settings) -> Planned:
    return of_present_data(lineage(plan_one(request, Resolver())), store, settings)[-1]


def diff(given: Namespace) -> int:
    """`peftlab diff RUN RUN [runs=DIR]`: every setting of the two specs that is not equal."""
    store = Store(settings_from(request_of(given.overrides).config).runs)
    runs = [planned_run(store, run) for run in (given.run, given.other)]
    unequal = differences(runs[0].spec, runs[1].spec)
    if given.json:
        print(json.dumps(unequal))
        return 0
    table = folding_table("setting", *(run.id for run in runs), box=None, padding=(0, 2, 0, 0))
    for key, values in unequal.items():
        table.add_row(key, *map(repr, values))
    console.print(table if unequal else "the two specs are equal.")
    return 0


def planned_run(store: Store, word: str) -> Planned:
    """The run that a prefix of an id means, with its spec: from its folder, or from the plan that wants it."""
    run_id = find_run(store, word)
    if planned := next((run for plan in plans(store.root) for run in plan.runs if run.id == run_id), None):
        return planned
    path = store.paths(run_id).spec
    if not path.is_file():
        raise RecordError(f"run {run_id} has no spec in {store.root}: it did not begin, and no sweep plans it now.")
    spec = json.loads(path.read_bytes())
    return Planned(run_id, {axis: spec[axis]["name"] for axis in PARTS} | {"seed": spec["seed"]}, spec)


def _reason(planned: Planned, store: Store) -> dict[str, Any]:
    """Its state as `peftlab status` has it, and why the next sweep would do it, or not."""
    queue = queue_of(store.root)
    (row,) = survey(Plan("", (planned,), (), {}), store, queue).rows
    answer: dict[str, Any] = {"status": row.stage}
    if row.stage == "missing":
        remark = f" {row.message}." * bool(row.message) + "".join(f" {why}." for why in queue.silent)
        return answer | _nearest(planned, store, remark)
    return answer | {"why": _why(row)}


def _why(row: RunRow) -> str:
    if row.stage == "done":
        return "its record is there, so it would not be done again."
    if row.stage == "failed":
        return f"it failed ({row.why}): {row.message}. `peftlab retry {row.id}` makes it missing."
    if row.stage in ("running", "pending"):
        waits = f", which waits ({row.why})" if row.why else ""
        return f"it is in the hands of {row.where}{waits}, so it would not be started again."
    if row.stage == "damaged":
        return "its record cannot be read: the next sweep keeps that aside and does the run again."
    ended = f" ({row.why}: {row.message})" if row.why else ""
    return f"it was begun, has no record{ended} and nobody is at it: the next sweep goes on with it."


def _nearest(planned: Planned, store: Store, remark: str) -> dict[str, Any]:
    near = min(
        ((len(unequal := differences(planned.spec, record.spec)), record.id, unequal) for record in store.records()),
        default=None,
        key=lambda entry: entry[:2],
    )
    why = f"it was never begun, so the next sweep that plans it does it.{remark}"
    if near is None:
        return {"why": f"{why} The store has no record yet."}
    return {"why": f"{why} The nearest run that has a record differs in:", "nearest": near[1], "differs": near[2]}
