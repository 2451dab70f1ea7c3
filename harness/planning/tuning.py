"""Equal tuning: from a sweep over one key to a recipe that holds, for every method, the value that validation prefers.

Every method has the same grid and the same seeds, which are not those of the comparison. Test scores are not looked at.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from harness.config.compose import compose_plain, conf_dirs
from harness.config.overrides import assign
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.paths import write_whole
from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

KEY = "recipe.lr"


@dataclass(frozen=True)
class TuningResult:
    """What was chosen for one method, and what the choice cost."""

    method: str
    value: float
    head_lr: float  # of the runs with that value
    score: float  # mean of the validation metric over the seeds
    scores: Mapping[float, float]  # every value of the grid that no run failed at
    edge: bool  # the best value is the grid's first or last: a wider grid may hold a better one
    flat: bool  # every value scores the same: it does not reach what the method trains
    seconds: float  # of training, all values and seeds
    failed: int


def choose(plan: Plan, store: Store) -> list[TuningResult]:
    """One choice per method, in the plan's order. RecordError: runs are missing, or all of a method failed."""
    missing = [run.id for run in plan.runs if store.status(run.id) not in ("done", "failed")]
    if missing:
        raise RecordError(f"{len(missing)} of {len(plan.runs)} runs have no record: peftlab sweep sweep={plan.name}")
    records: dict[str, list[Record]] = defaultdict(list)
    for run in plan.runs:
        records[str(run.choices["method"])].append(store.read(run.id))
    return [_choose(method, of_method) for method, of_method in records.items()]


def _choose(method: str, records: list[Record]) -> TuningResult:
    scores: dict[float, list[float]] = defaultdict(list)
    heads: dict[float, float] = {}
    for record in records:
        value = record.spec["recipe"]["lr"]
        heads[value] = record.spec["recipe"]["head_lr"]
        scores[value] += [record.selected["value"]] if record.status == "done" else []
    whole = max(map(len, scores.values()))
    means = {value: fmean(points) for value, points in sorted(scores.items()) if points and len(points) == whole}
    if not means:
        raise RecordError(f"every run of {method} failed; `peftlab status` says why.")
    better = max if records[0].spec["dataset"]["direction"] == "max" else min
    best = better(means, key=lambda value: means[value])
    seconds = sum(q.value for record in records if isinstance(q := record.seconds["train"], Measured))
    failed = sum(record.status == "failed" for record in records)
    flat = len(means) > 1 and len(set(means.values())) == 1
    edge = not flat and best in (min(scores), max(scores))
    return TuningResult(method, best, heads[best], means[best], means, edge, flat, seconds, failed)


def write_recipe(plan: Plan, choices: list[TuningResult], folder: Path) -> Path:
    """The base recipe with the rates of each method's best runs, and where they are from.

    Raises SpecError when the sweep names none.
    """
    tune = plan.about.get("tune")
    if not tune:
        raise SpecError(f"sweep {plan.name} has no `tune: {{into: NAME, base: RECIPE}}`.")
    recipe = compose_plain([assign("recipe", tune["base"])])["recipe"]
    rates = {choice.method: choice.value for choice in choices}
    heads = {choice.method: choice.head_lr for choice in choices}
    tuned = recipe | {"name": tune["into"], "lr": rates, "head_lr": heads, "about": _about(plan, tune, choices)}
    path = folder / "recipe" / f"{tune['into']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, OmegaConf.to_yaml(OmegaConf.create(tuned)))
    return path


def finish(plan: Plan, store: Store) -> None:
    """At the end of a tuning sweep: the table, the warnings, and the recipe beside the other configs."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    choices = choose(plan, store)
    table = Table("method", KEY, "validation", "training s", "grid", box=None, padding=(0, 2, 0, 0))
    for choice in choices:
        grid = "  ".join(f"{value:g}: {score:.4f}" for value, score in choice.scores.items())
        table.add_row(choice.method, f"{choice.value:g}", f"{choice.score:.4f}", f"{choice.seconds:.1f}", grid)
    console.print(table)
    for choice in choices:
        if choice.edge:
            console.print(f"{choice.method}: the best value, {choice.value:g}, is at the edge of the grid; widen it.")
        if choice.flat:
            console.print(f"{choice.method}: every value scores the same; {KEY} does not reach what it trains.")
        if choice.failed:
            console.print(f"{choice.method}: {choice.failed} runs failed; their values were not considered.")
    own = os.environ.get("PEFTLAB_CONF")  # made here when it is not there yet
    path = write_recipe(plan, choices, Path(own) if own else conf_dirs()[-1])
    console.print(f"recipe={path.stem} holds these rates: {path}", markup=False)


def _about(plan: Plan, tune: Mapping[str, Any], choices: list[TuningResult]) -> dict[str, Any]:
    return {
        "label": f"Tuned ({plan.name})",
        "source": f"ours: validation of {len(plan.runs)} runs, plan {plan.digest}, on top of {tune['base']}",
        "train_seconds": round(sum(choice.seconds for choice in choices), 1),
        "at_the_edge": [choice.method for choice in choices if choice.edge],
    }
