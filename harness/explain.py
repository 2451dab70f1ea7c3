"""`peftlab explain` and `peftlab diff`: why a run would be done, or not, and what tells two runs apart."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.ledger.errors import RecordError, SpecError
from harness.ledger.plan import Planned
from harness.ledger.store import Store
from harness.plan import plan_one, read_request
from harness.resolve import Resolver
from harness.settings import settings_from
from harness.verbs import flags_of

console = Console(highlight=False, soft_wrap=True)


def explain(argv: list[str]) -> int:
    """`peftlab explain method=… seed=…`: the id these words name, its state, and how the nearest run differs."""
    flags, words = flags_of(argv, ("--json",))
    request = read_request(words)
    planned, store = plan_one(request, Resolver()), Store(settings_from(request.config).runs)
    found: dict[str, Any] = {"id": planned.id, "status": store.status(planned.id)} | _reason(planned, store)
    if "--json" in flags:
        print(json.dumps(found))
        return 0
    console.print(f"run {found['id']} is {found['status']}: {found['why']}", markup=False)
    for key, (here, there) in found.get("differs", {}).items():
        console.print(f"  {key}: {here!r} here, {there!r} in {found['nearest']}", markup=False)
    return 0


def diff(argv: list[str]) -> int:
    """`peftlab diff RUN RUN [runs=DIR]`: every setting of the two specs that is not equal."""
    flags, words = flags_of(argv, ("--json",))
    ids = [word for word in words if "=" not in word]
    if len(ids) != 2:
        raise SpecError("diff takes two run ids, as `peftlab status` lists them.")
    store = Store(settings_from(read_request([w for w in words if "=" in w]).config).runs)
    found = differences(*(_spec(store, run_id) for run_id in ids))
    if "--json" in flags:
        print(json.dumps(found))
        return 0
    table = Table("setting", *ids, box=None, padding=(0, 2, 0, 0))
    for key, values in found.items():
        table.add_row(key, *map(repr, values))
    console.print(table if found else "the two specs are equal.")
    return 0


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ; what is for people (`about`) is left out."""
    first, second = _flat(one), _flat(other)
    return {k: (first.get(k), second.get(k)) for k in sorted(first | second) if first.get(k) != second.get(k)}


def _reason(planned: Planned, store: Store) -> dict[str, Any]:
    status = store.status(planned.id)
    if status == "done":
        return {"why": "its record is there, so it would not be done again."}
    if status == "failed":
        failure = store.read(planned.id).failure
        assert failure is not None
        return {"why": f"it failed ({failure.kind}): {failure.message}. `peftlab retry {planned.id}` makes it missing."}
    if status in ("unfinished", "damaged"):
        return {"why": "it was begun and has no readable record: the next sweep goes on with it."}
    near = min(
        ((len(found := differences(planned.spec, record.spec)), record.id, found) for record in store.records()),
        default=None,
        key=lambda entry: entry[:2],
    )
    if near is None:
        return {"why": "it was never begun; the store is empty."}
    why = "it was never begun. The nearest run that has a record differs in:"
    return {"why": why, "nearest": near[1], "differs": near[2]}


def _spec(store: Store, run_id: str) -> Mapping[str, Any]:
    path = store.paths(run_id).spec
    if not path.is_file():
        raise RecordError(f"run '{run_id}' is not in {store.root}; `peftlab status` lists the runs.")
    return json.loads(path.read_bytes())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "about":
            continue
        path = f"{prefix}{key}"
        flat |= _flat(value, path + ".") if isinstance(value, Mapping) else {path: _listed(value)}
    return flat


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
