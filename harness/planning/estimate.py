"""What a plan will need, cell by cell, before it is run: memory and time, each with where the number is from.

The one estimator: `peftlab plan` shows these numbers, and SLURM's memory classes, packing and time limits are made of
them. Memory is the ledger of one step at full size, counted without weights (`planning.step_cost`). Time is from
earlier records, else FLOPs over a rate (`planning.times`). What nothing is known of has no number, and says why.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.execution.launcher import Machine
from harness.ledger.plan import Plan, Planned
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.ledger.units import format_duration
from harness.planning.fit import Fit, Gpus, fit
from harness.planning.step_cost_cache import StepCost, key_of, step_costs
from harness.planning.times import read_history, run_time

ON_PAPER = "counted on shapes"
LEDGERS, PROBES = "ledgers", "probes"  # folders of the cache
STACK_BYTES = 1.5e9  # torch, transformers and datasets, imported


@dataclass(frozen=True)
class CostEstimate:
    """Of every run of one cell. Numbers that nothing is known of are None, and the sentence beside them says why."""

    choices: Mapping[str, Any]  # without the seed
    runs: int
    ledger: Mapping[str, float]  # bytes by role, on the device; empty when it cannot be counted
    memory_from: str
    host_bytes: float  # of the process in host memory; without a ledger, of what is imported alone
    seconds: float | None  # of training one run
    wall_seconds: float | None  # of the whole run
    seconds_from: str
    fit: Fit | None = None  # on the GPUs of the cluster's card; None where it says nothing of them
    flops: float | None = None  # of training one run, where no time is known but they are

    @property
    def bytes(self) -> float | None:
        """Device memory of a step: all roles at once, without kernels' workspaces and the allocator's slack."""
        return sum(self.ledger.values()) if self.ledger else None


def estimates(
    plan: Plan, store: Store, cache: Path, machine: Machine | None = None, gpus: Gpus | None = None
) -> list[CostEstimate]:
    """One for each cell, in the plan's order; `machine`: what the runs will be done on, None: any, and a GPU's memory.
    gpus: what the card says of them.

    Shapes that `cache` lacks are counted, which loads torch.
    """
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run.choices), []).append(run)
    specs = {cell: _on(machine, runs[0].spec) for cell, runs in cells.items()}
    costs = step_costs(specs.values(), cache / LEDGERS, _count)
    history = read_history(store, cache / PROBES, machine)
    needed = []
    for cell, runs in cells.items():
        cost = costs[key_of(specs[cell])]
        time = run_time(runs[0].spec, history, cost.flops, machine)
        stated = machine.run_seconds if machine else None
        needed.append(
            CostEstimate(
                choices={axis: value for axis, value in runs[0].choices.items() if axis != "seed"},
                runs=len(runs),
                ledger=cost.bytes,
                memory_from=cost.why or ON_PAPER,
                host_bytes=_host_bytes(cost.bytes, machine),
                seconds=time.training,
                wall_seconds=stated or time.wall,
                flops=time.flops,
                fit=_fit(cost, specs[cell], gpus, cache),
                seconds_from=f"{time.source}; the whole run as the cluster's card says" if stated else time.source,
            )
        )
    return needed


def _fit(cost: StepCost, spec: Mapping[str, Any], gpus: Gpus | None, cache: Path) -> Fit | None:
    def count(other: Mapping[str, Any]) -> StepCost:
        return step_costs([other], cache / LEDGERS, _count)[key_of(other)]

    return fit(cost, spec, gpus, count) if gpus else None


def _on(machine: Machine | None, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec with the precision that `auto` is there: float32 on a CPU (`measure.precision`)."""
    if machine is None or machine.device != "cpu" or spec["recipe"].get("precision") != "auto":
        return spec
    return {**spec, "recipe": {**spec["recipe"], "precision": "float32"}}


def _host_bytes(ledger: Mapping[str, float], machine: Machine | None) -> float:
    """Host memory of a run. Loading holds the weights twice; with a packed base that is kept for other runs there is no
    more. On a CPU all roles are there, and beside what is kept for the backward pass as much again: its gradients, and
    what kernels do not keep."""
    loading = STACK_BYTES + 2 * ledger.get("weights", 0)
    if machine is None or machine.device != "cpu":
        return loading
    others = sum(value for role, value in ledger.items() if role != "weights")
    return loading + others + ledger.get("saved_for_backward", 0)


def cell_of(choices: Mapping[str, Any]) -> str:
    """The choices of a run without its seed, as text."""
    return json.dumps({key: value for key, value in choices.items() if key != "seed"}, sort_keys=True)


def estimate_to_json(estimate: CostEstimate) -> dict[str, Any]:
    """Plain data, for `peftlab plan --json`."""
    return vars(estimate) | {
        "choices": dict(estimate.choices),
        "ledger": dict(estimate.ledger),
        "bytes": estimate.bytes,
        "fit": estimate.fit and vars(estimate.fit),
    }


def notes(cells: Sequence[CostEstimate], machine: Machine | None = None) -> list[str]:
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
    held = "weights, adapter, gradients, optimizer and what is kept for the backward pass of one micro-batch at its "
    if machine and machine.device == "cpu":
        return [f"memory: {held}greatest length, counted on shapes; host memory is what a job is sized by.", total]
    return [
        f"GPU memory: {held}greatest length, counted on shapes as CUDA holds them (precision auto as bfloat16 "
        "autocast); CUDA's context, kernels' workspaces and the allocator's slack come on top.",
        total,
    ]


def _count(spec: RunSpec) -> StepCost:
    from harness.planning.step_cost import step_cost  # torch and transformers, and only for a shape that is new

    return step_cost(spec)
