"""What a plan will need, cell by cell, before it is run: GPU memory and time, each with where the number is from.

Memory: the exact ledger of one step at full size, counted without weights. Time: earlier records, best first those of
the cell itself. A cell that nothing is known about has no number, and says why.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from harness.ledger.errors import RecordError
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import Record
from harness.ledger.spec import RecipeSpec, RunSpec
from harness.ledger.store import Store
from harness.timeline import timeline

console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
ON_PAPER = "meta-device ledger"


@dataclass(frozen=True)
class Estimate:
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
class Past:
    """What a finished run tells about others."""

    method: str
    model: str
    task: str  # dataset and recipe
    dataset: str
    train_seconds: float
    flop_per_second: float | None
    examples: int | None  # of the training split


def estimates(plan: Plan, store: Store) -> list[Estimate]:
    """One for each cell, in the plan's order; seconds for a model of any size, as equal ledgers are counted once."""
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(_text({k: v for k, v in run.choices.items() if k != "seed"}), []).append(run)
    past = list(_past(store))
    counted: dict[str, Any] = {}
    bar = track(cells.values(), "counting on the meta device", console=Console(stderr=True), transient=True)
    return [_estimate(runs, past, counted) for runs in bar]


def print_estimates(found: Sequence[Estimate]) -> None:
    """A row for each cell, and the whole sweep's time in the last line."""
    axes = ("method", "model", "dataset", "recipe")
    table = Table(*axes, "runs", "GPU memory", "from", "training of a run", "from", box=None, padding=(0, 2, 0, 0))
    for one in found:
        names = [str(one.choices.get(axis, "")) for axis in axes]
        table.add_row(*names, str(one.runs), size(one.bytes), one.memory_from, span(one.seconds), one.seconds_from)
    console.print(table)
    known = [one.seconds * one.runs for one in found if one.seconds is not None]
    missing = sum(one.runs for one in found if one.seconds is None)
    text = f"training, one run after the other: {span(sum(known))}" if known else "training: no record to go by"
    console.print(text + (f"; {missing} runs not counted: no record yet" if known and missing else ""))


def estimate_to_json(one: Estimate) -> dict[str, Any]:
    """Plain data, for `peftlab plan --estimate --json`."""
    return vars(one) | {"choices": dict(one.choices), "ledger": dict(one.ledger), "bytes": one.bytes}


def size(count: float | None) -> str:
    """Bytes as a person reads them."""
    if count is None:
        return "–"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def span(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _estimate(runs: Sequence[Planned], past: Sequence[Past], counted: dict[str, Any]) -> Estimate:
    from harness.paper_ledger import paper_ledger  # torch and transformers, which a plan without estimates never loads

    plain = runs[0].spec
    key = _text([_storage(plain["method"]), _science(plain["model"]), plain["dataset"]["task"], plain["recipe"]])
    if key not in counted:
        counted[key] = paper_ledger(parse(RunSpec, plain, "run"))
    paper = counted[key]
    seconds, source = _seconds(plain, past, paper.flops)
    choices = {axis: value for axis, value in runs[0].choices.items() if axis != "seed"}
    return Estimate(choices, len(runs), paper.bytes, paper.why or ON_PAPER, seconds, source)


def _seconds(spec: Mapping[str, Any], past: Sequence[Past], flops: float | None) -> tuple[float | None, str]:
    """Training seconds: of the cell's own records, of other methods', or FLOPs over a measured rate."""
    like = [one for one in past if (one.model, one.task) == (_science(spec["model"]), _task(spec))]
    own = [one.train_seconds for one in like if one.method == _science(spec["method"])]
    if own:
        return median(own), _records(own)
    if like:
        return median(one.train_seconds for one in like), f"{_records(like)} of other methods"
    steps = _steps(spec, past)
    rated = [one for one in past if one.flop_per_second]
    rated = [one for one in rated if one.model == _science(spec["model"])] or rated
    if steps is None or flops is None or not rated:
        return None, "no record yet"
    rate = median(one.flop_per_second or math.nan for one in rated)
    return steps * flops / rate, f"FLOPs at full length, {rate / 1e9:.3g} GFLOP/s of {_records(rated)}"


def _steps(spec: Mapping[str, Any], past: Sequence[Past]) -> int | None:
    """Optimizer steps of a run; None when nobody has seen how long its training split is."""
    recipe = parse(RecipeSpec, spec["recipe"], "recipe")
    seen = [one.examples for one in past if one.dataset == _science(spec["dataset"]) and one.examples]
    if not seen:
        return recipe.max_steps
    return timeline(recipe, max(1, math.ceil(seen[0] / (recipe.batch_size * recipe.accumulate)))).total


def _past(store: Store) -> Iterable[Past]:
    for path in sorted(store.root.glob("*/record.json")):
        try:
            record = store.read(path.parent.name)
        except RecordError:  # a damaged record tells nothing; `peftlab status` names it
            continue
        if record.status == "done" and isinstance(train := record.seconds.get("train"), Measured) and train.value > 0:
            yield _told(record, train.value)


def _told(record: Record, seconds: float) -> Past:
    spec, work = record.spec, [record.work.get("flops_per_step"), record.work.get("steps")]
    flops, steps = (_value(quantity) for quantity in work)
    return Past(
        method=_science(spec["method"]),
        model=_science(spec["model"]),
        task=_task(spec),
        dataset=_science(spec["dataset"]),
        train_seconds=seconds,
        flop_per_second=flops * steps / seconds if flops and steps else None,
        examples=record.data.get("splits", {}).get("train", {}).get("n"),
    )


def _value(quantity: Quantity | None) -> float | None:
    return quantity.value if isinstance(quantity, Measured) else None


def _task(spec: Mapping[str, Any]) -> str:
    """Dataset and recipe, rates left out: they differ between methods and cost no time."""
    recipe = {key: value for key, value in spec["recipe"].items() if key not in ("about", "lr", "head_lr")}
    return _text([_science(spec["dataset"]), recipe])


def _storage(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method decides its bytes: which columns are taken, and when a link ends, do not."""
    update = {key: value for key, value in method["update"].items() if key != "selector"}
    return {"targets": method["targets"], "update": update}


def _science(part: Mapping[str, Any]) -> str:
    return _text({key: value for key, value in part.items() if key != "about"})


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)


def _records(found: Sequence[object]) -> str:
    return f"{len(found)} record{'s' if len(found) != 1 else ''}"
