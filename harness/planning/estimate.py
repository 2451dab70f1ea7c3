"""What a plan will need, cell by cell, before it is run: GPU memory and time, each with where the number is from.

Memory: the ledger of one step at full size, counted without weights (`planning.step_cost`). Time: earlier records,
best first those of the cell itself; else FLOPs over a rate that a record or a probe reached. A cell that nothing is
known about has no number, and says why.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned
from harness.ledger.spec import RecipeSpec, RunSpec
from harness.ledger.store import Store
from harness.planning.history import PastRun, Rate, canonical_spec, past_probes, past_runs, task_of
from harness.planning.step_cost_cache import StepCost, key_of, step_costs
from harness.training.schedule import train_schedule

ON_PAPER = "counted on shapes"
LEDGERS, PROBES = "ledgers", "probes"  # folders of the cache


@dataclass(frozen=True)
class CostEstimate:
    """Of every run of one cell. Numbers that nothing is known of are None, and the sentence beside them says why."""

    choices: Mapping[str, Any]  # without the seed
    runs: int
    ledger: Mapping[str, float]  # bytes by role; empty when it cannot be counted
    memory_from: str
    seconds: float | None  # of training one run
    seconds_from: str

    @property
    def bytes(self) -> float | None:
        """GPU memory of a training step: all roles at once, without kernels' workspaces and the allocator's slack."""
        return sum(self.ledger.values()) if self.ledger else None


@dataclass(frozen=True)
class _Known:
    """All that earlier runs and probes say."""

    runs: Sequence[PastRun] = ()
    rates: Sequence[Rate] = field(default_factory=list)


def estimates(plan: Plan, store: Store, cache: Path) -> list[CostEstimate]:
    """One for each cell, in the plan's order. Shapes that `cache` lacks are counted, which loads torch."""
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run.choices), []).append(run)
    ledgers = step_costs((runs[0].spec for runs in cells.values()), cache / LEDGERS, _count)
    runs, rates = past_runs(store)
    known = _Known(runs, [*rates, *past_probes(cache / PROBES)])
    needed = []
    for cell in cells.values():
        paper = ledgers[key_of(cell[0].spec)]
        seconds, source = _seconds(cell[0].spec, known, paper.flops)
        choices = {axis: value for axis, value in cell[0].choices.items() if axis != "seed"}
        needed.append(CostEstimate(choices, len(cell), paper.bytes, paper.why or ON_PAPER, seconds, source))
    return needed


def cell_of(choices: Mapping[str, Any]) -> str:
    """The choices of a run without its seed, as text."""
    return json.dumps({key: value for key, value in choices.items() if key != "seed"}, sort_keys=True)


def estimate_to_json(estimate: CostEstimate) -> dict[str, Any]:
    """Plain data, for `peftlab plan --json`."""
    return vars(estimate) | {
        "choices": dict(estimate.choices),
        "ledger": dict(estimate.ledger),
        "bytes": estimate.bytes,
    }


def notes(cells: Sequence[CostEstimate]) -> list[str]:
    """What the numbers of a plan are, and the training time of all its runs, a sentence each."""
    known = [cell.seconds * cell.runs for cell in cells if cell.seconds is not None]
    missing = sum(cell.runs for cell in cells if cell.seconds is None)
    total = (
        f"training of all runs, one after the other: {format_duration(sum(known))}"
        if known
        else "training time: not known"
    )
    if missing:
        total += f"; {missing} runs without an estimate: no record to go by (peftlab probe model=NAME gives a rate)"
    return [
        "GPU memory: weights, adapter, gradients, optimizer and what is kept for the backward pass of one micro-batch "
        "at its greatest length, counted on shapes as CUDA holds them (precision auto as bfloat16 autocast); CUDA's "
        "context, kernels' workspaces and the allocator's slack come on top.",
        total,
    ]


def format_bytes(count: float | None) -> str:
    """Bytes as a person reads them."""
    if count is None:
        return "–"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def format_duration(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(spec: RunSpec) -> StepCost:
    from harness.planning.step_cost import step_cost  # torch and transformers, and only for a shape that is new

    return step_cost(spec)


def _seconds(spec: Mapping[str, Any], known: _Known, flops: float | None) -> tuple[float | None, str]:
    """Training seconds: of the cell's own records, of other methods', or FLOPs over a measured rate."""
    like = [run for run in known.runs if (run.model, run.task) == (canonical_spec(spec["model"]), task_of(spec))]
    if own := [run for run in like if run.method == canonical_spec(spec["method"])]:
        return _median(own, "")
    if like:
        return _median(like, " of other methods")
    if flops is None:
        return None, "no record yet"
    steps, rates = _steps(spec, known.runs), _nearest(spec, known.rates)
    if not steps:
        return None, "no record yet; the card does not say how many rows"
    if not rates:
        return None, f"no record yet; {_flops(steps * flops)}"
    rate = median(rate.flop_per_second for rate in rates)
    sources = " and ".join(_counted(range(n), source) for source, n in Counter(rate.source for rate in rates).items())
    return steps * flops / rate, f"FLOPs at {_flops(rate)}/s: {sources}, {rates[0].device}"


def _median(runs: Sequence[PastRun], whose: str) -> tuple[float, str]:
    """Training seconds on the device that was fastest: times of several devices are never mixed."""
    device = min(runs, key=lambda run: run.train_seconds).device
    there = [run.train_seconds for run in runs if run.device == device]
    return median(there), f"{_counted(there, 'record')}{whose}, {device or 'an unknown device'}"


def _nearest(spec: Mapping[str, Any], rates: Sequence[Rate]) -> list[Rate]:
    """The rates of the fastest device: of the same model and method, else of the same model, else all."""
    model, method = (spec["model"]["name"], spec["model"]["size"]), spec["method"]["name"]
    same = [rate for rate in rates if (rate.model, rate.size) == model]
    nearest = [rate for rate in same if rate.method == method] or same or list(rates)
    fastest = max(nearest, key=lambda rate: rate.flop_per_second, default=None)
    return [rate for rate in nearest if fastest and rate.device == fastest.device]


def _steps(spec: Mapping[str, Any], runs: Sequence[PastRun]) -> int | None:
    """Optimizer steps of a run; None when neither a record nor the card says how long its training split is."""
    recipe = parse(RecipeSpec, spec["recipe"], "recipe")
    seen = [run.examples for run in runs if run.dataset == canonical_spec(spec["dataset"]) and run.examples]
    rows = seen[0] if seen else _rows(spec["dataset"])
    if not rows:
        return recipe.max_steps
    return train_schedule(recipe, max(1, math.ceil(rows / (recipe.batch_size * recipe.accumulate)))).total


def _rows(dataset: Mapping[str, Any]) -> int | None:
    """Training rows by the card: those upstream, less what is held out of them."""
    split, rows = dataset["split"], dataset["about"].get("rows", {}).get("train")
    held = (0 if split["validation"] else split["share"]) + (0 if split["test"] else split["test_share"])
    return round(rows * (1 - held)) if rows else None


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' if len(things) != 1 else ''}"


def _flops(count: float) -> str:
    for scale, unit in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e9:.3g} GFLOP"
