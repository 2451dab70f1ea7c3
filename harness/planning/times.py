"""How long a run takes, from earlier records, else from FLOPs over a rate: seconds, and where they are from.

Times of two devices are never mixed, and the device is named. Where the machine that runs will be done on is known,
no time of another kind of device is taken; what nothing is known of is then assumed, and the sentence says so.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness.execution.launcher import Machine
from harness.ledger.parse import parse
from harness.ledger.spec import RecipeSpec
from harness.ledger.store import Store
from harness.planning.history import PastRun, Rate, canonical_spec, passes_of, past_probes, past_runs, task_of
from harness.training.schedule import train_schedule

ASSUMED_RATE = {"cpu": 3e10, "cuda": 3e13}  # FLOP/s of a core, and of a GPU: sustained, low on purpose
ASSUMED_ROWS = 10_000  # of a training split whose size neither a record nor the card tells


@dataclass(frozen=True)
class RunTime:
    """Seconds of one run; None where nothing is known of it. `source`: where they are from, or why there is none."""

    training: float | None
    wall: float | None  # of the whole run; by FLOPs, of its training alone
    source: str
    flops: float | None = None  # of its training, where no time is known but they are


@dataclass(frozen=True)
class History:
    """All that earlier runs and probes say."""

    runs: Mapping[tuple[str, str], Sequence[PastRun]]  # by model and task
    rates: Sequence[Rate]
    examples: Mapping[str, int]  # dataset -> rows of its training split, as a record has them


def read_history(store: Store, probes: Path, machine: Machine | None) -> History:
    """Of a store and the probes of this machine: those on the machine's kind of device, where one is given."""
    runs, rates = past_runs(store)
    examples = {run.dataset: run.examples for run in reversed(runs) if run.examples}
    by_task: defaultdict[tuple[str, str], list[PastRun]] = defaultdict(list)
    for run in runs:
        if machine is None or run.device_type == machine.device:
            by_task[run.model, run.task].append(run)
    usable = [rate for rate in [*rates, *past_probes(probes)] if machine is None or rate.device_type == machine.device]
    return History(by_task, usable, examples)


def run_time(spec: Mapping[str, Any], history: History, flops: float | None, machine: Machine | None) -> RunTime:
    """Of the cell's own records, else of other methods', else FLOPs over a rate; `flops`: of a step with one pass."""
    recorded = history.runs.get((canonical_spec(spec["model"]), task_of(spec)), ())
    if own := [run for run in recorded if run.method == canonical_spec(spec["method"])]:
        return _of_records(own, "")
    if recorded:
        return _of_records([_as_long(run, passes_of(spec["method"])) for run in recorded], " of other methods")
    return RunTime(None, None, "no record yet") if flops is None else _by_flops(spec, history, flops, machine)


def _by_flops(spec: Mapping[str, Any], history: History, flops: float, machine: Machine | None) -> RunTime:
    rows = history.examples.get(canonical_spec(spec["dataset"])) or _rows(spec["dataset"])
    unknown = "the card does not say how many rows"
    steps = _steps(spec, rows) or (machine and _steps(spec, ASSUMED_ROWS))
    if not steps:
        return RunTime(None, None, f"no record yet; {unknown}")
    guess = f"; {unknown}, {ASSUMED_ROWS:,} are assumed" if not _steps(spec, rows) else ""
    total, rates = steps * flops * passes_of(spec["method"]), _nearest(spec, history.rates)
    if rates:
        rate = median(rate.flop_per_second for rate in rates)
        sources = Counter(rate.source for rate in rates).items()
        origin = f"{' and '.join(_counted(n, source) for source, n in sources)}, {rates[0].device}"
    elif machine:
        rate, origin = ASSUMED_RATE[machine.device] * machine.processors, f"no record yet, assumed of a {machine}"
    else:
        return RunTime(None, None, "no record yet; FLOPs of its training in place of its time", total)
    return RunTime(total / rate, total / rate, f"FLOPs at {format_flops(rate)}/s: {origin}{guess}")


def _as_long(run: PastRun, passes: float) -> PastRun:
    """Had its steps gone through the model so often."""
    training = run.train_seconds * passes / run.passes
    return replace(run, train_seconds=training, wall_seconds=run.wall_seconds - run.train_seconds + training)


def _of_records(runs: Sequence[PastRun], whose: str) -> RunTime:
    """Medians on the device that was fastest."""
    device = min(runs, key=lambda run: run.train_seconds).device
    there = [run for run in runs if run.device == device]
    source = f"{_counted(len(there), 'record')}{whose}, {device or 'an unknown device'}"
    return RunTime(median(run.train_seconds for run in there), median(run.wall_seconds for run in there), source)


def _nearest(spec: Mapping[str, Any], rates: Sequence[Rate]) -> list[Rate]:
    """The rates of the fastest device: of the same model and method, else of the same model, else all."""
    model, method = (spec["model"]["name"], spec["model"]["size"]), spec["method"]["name"]
    same = [rate for rate in rates if (rate.model, rate.size) == model]
    nearest = [rate for rate in same if rate.method == method] or same or list(rates)
    fastest = max(nearest, key=lambda rate: rate.flop_per_second, default=None)
    return [rate for rate in nearest if fastest and rate.device == fastest.device]


def _steps(spec: Mapping[str, Any], rows: int | None) -> int | None:
    """Optimizer steps of a run over that many training rows; None when they are not known, and the recipe counts
    epochs."""
    recipe = parse(RecipeSpec, spec["recipe"], "recipe")
    if not rows:
        return recipe.max_steps
    return train_schedule(recipe, max(1, math.ceil(rows / (recipe.batch_size * recipe.accumulate)))).total


def _rows(dataset: Mapping[str, Any]) -> int | None:
    """Training rows by the card: those upstream, less what is held out of them."""
    split, rows = dataset["split"], dataset["about"].get("rows", {}).get("train")
    held = (0 if split["validation"] else split["share"]) + (0 if split["test"] else split["test_share"])
    return round(rows * (1 - held)) if rows else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def format_flops(count: float) -> str:
    """FLOPs as a person reads them."""
    for scale, unit in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e9:.3g} GFLOP"
