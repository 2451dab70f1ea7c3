"""In which order the runs of a plan are done: so that drift in time is not taken for a difference of methods."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.ledger.plan import Plan, Planned


def work_order(plan: Plan) -> Plan:
    """The plan by seed, then by block (model, dataset, recipe) in its own order, then by methods as drawn for each.

    A run comes after the one that it starts from. A sweep that is cut off has whole seeds, and the runs that are
    compared are done close together in time. Drawn from the sweep's name, the seed and the run's id, so the order is
    the same everywhere, and runs that are added later leave that of the others as it is. The digest stays; tables keep
    the order of the plan that was written.
    """
    seeds = {seed: number for number, seed in enumerate(dict.fromkeys(run.spec["seed"] for run in plan.runs))}
    blocks = {block: number for number, block in enumerate(dict.fromkeys(map(_block, plan.runs)))}

    def place(run: Planned) -> tuple[int, int, str]:
        seed = run.spec["seed"]
        drawn = hashlib.sha256(f"{plan.name}/{seed}/{run.id}".encode()).hexdigest()
        return seeds[seed], blocks[_block(run)], drawn

    return replace(plan, runs=tuple(_sources_first(sorted(plan.runs, key=place))))


def _sources_first(runs: Sequence[Planned]) -> Iterable[Planned]:
    """The same order, but that each run comes right after the run it starts from where it would come before it."""
    by_id = {run.id: run for run in runs}
    ordered: dict[str, Planned] = {}

    def add(run: Planned) -> None:
        if run.source in by_id:
            add(by_id[run.source])
        ordered.setdefault(run.id, run)

    for run in runs:
        add(run)
    return ordered.values()


def _block(run: Planned) -> str:
    return json.dumps([run.choices.get(axis) for axis in ("model", "dataset", "recipe")])
