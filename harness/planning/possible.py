"""Cells that no allowed number of the cluster's GPUs holds are left out of a plan, each with what would make it
possible. What has been done is no estimate: a cell with a finished run stays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.ledger.plan import Plan, Planned, Skipped
from harness.ledger.store import Store
from harness.planning.estimate import CostEstimate, cell_of
from harness.planning.fit import Fit, Gpus


def undone(plan: Plan, store: Store) -> Plan:
    """The plan of the cells without a finished run."""
    done = {cell_of(run.choices) for run in plan.runs if store.status(run.id) == "done"}
    return replace(plan, runs=tuple(run for run in plan.runs if cell_of(run.choices) not in done))


def without_impossible(plan: Plan, cells: Sequence[CostEstimate], gpus: Gpus) -> Plan:
    """cells: estimates of those that are to be judged. A run whose source is left out is left out with it."""
    why = {cell_of(cell.choices): _why(cell.fit, gpus) for cell in cells if cell.fit and cell.fit.gpus is None}
    lost: dict[str, str] = {}  # run id -> sentence
    for run in plan.runs:  # a source comes before its targets
        if sentence := why.get(cell_of(run.choices)) or _of_source(lost.get(run.source or "")):
            lost[run.id] = sentence
    if not lost:
        return plan
    kept = tuple(run for run in plan.runs if run.id not in lost)
    return replace(plan, runs=kept, skipped=(*plan.skipped, *_skipped(plan.runs, lost)))


def _why(fit: Fit, gpus: Gpus) -> str:
    return f"it does not fit: {fit.gigabytes:.1f} GB where a GPU has {gpus.memory_gb:g} GB; {fit.remedy}."


def _of_source(why: str | None) -> str:
    return f"its source run cannot be: {why}" if why else ""


def _skipped(runs: Sequence[Planned], lost: Mapping[str, str]) -> list[Skipped]:
    """One for each cell."""
    cells: dict[str, Skipped] = {}
    for run in (each for each in runs if each.id in lost):
        choices: dict[str, Any] = {axis: value for axis, value in run.choices.items() if axis != "seed"}
        cells.setdefault(cell_of(choices), Skipped(choices, lost[run.id]))
    return list(cells.values())
