"""From what happened to the record of it: nothing is measured here, and nothing that was not measured gets a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.plan import Planned
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import NOT_COMPARABLE, Failure, Record
from harness.measure.clocks import Clocks
from harness.measure.environment import image_back_end, provenance, quantisation_back_end
from harness.measure.flops import flop_counter
from harness.measure.memory_breakdown import measure_ledger
from harness.tasks.task import Prediction
from harness.training.across import Measures, by_rank, combined, gathered
from harness.training.context import RunContext, TrainState
from harness.training.loop import backward
from harness.training.schedule import TrainSchedule
from harness.training.world import ALONE, World
from methods.quantised import parameter_count


@dataclass(frozen=True)
class StepProfile:
    """What one untimed step tells, the same on any machine and for every seed."""

    ledger: Mapping[str, Quantity]
    flops: Measured


@dataclass(frozen=True)
class TestResult:
    """Scores by split, and the test predictions they are of."""

    scores: Mapping[str, Mapping[str, Measured]]
    predictions: Sequence[Prediction]


def profile_first_step(context: RunContext, optimizer: torch.optim.Optimizer) -> StepProfile:
    """The exact ledger and the FLOPs of a step over the reference batch; training state is left as it was.

    Where a procedure goes through several batches in some steps, the FLOPs are those of its mean step.
    """
    window, counter = context.loader.reference(), flop_counter()

    def forward_backward() -> Tensor:
        with counter:
            return backward(context, window)

    context.model.train()
    ledger = measure_ledger(context.model, forward_backward, optimizer)
    passes = 1 if context.procedure is None else context.procedure.passes
    return StepProfile(ledger, Measured(counter.get_total_flops() * passes, "FLOP"))


def done_record(
    planned: Planned,
    context: RunContext,
    state: TrainState,
    schedule: TrainSchedule,
    profile: StepProfile,
    tested: TestResult,
) -> Record:
    """The record of a run that went to its end."""
    assert state.best is not None
    measured = combined(each := gathered(context, profile.ledger, profile.flops))
    epoch = state.best.step / schedule.steps_per_epoch
    metric = context.spec.dataset.metric
    return replace(
        _record(planned, context.clocks, state, context.device, context.world),
        status="done",
        selected={"step": state.best.step, "epoch": epoch, "metric": metric, "value": state.best.value},
        scores=tested.scores,
        seconds=measured.seconds,
        speed=measured.speed,
        memory=measured.memory,
        ledger=measured.ledger,
        work={
            "flops_per_step": measured.flops,
            "steps": Measured(state.step, "step"),
            "examples_seen": Measured(state.samples, "example"),
        },
        parameters=_parameters(context),
        data=context.data.facts | {"model_revision": context.loaded.revision},
        links=state.links,
        contention=measured.contention,
        notes=_notes(measured),
        ranks=by_rank(each),
    )


def failed_record(
    planned: Planned, failure: Failure, clocks: Clocks, state: TrainState, device: torch.device, world: World = ALONE
) -> Record:
    """The record of a run that failed: what is known, and why there is no more."""
    return replace(_record(planned, clocks, state, device, world), status="failed", failure=failure)


def summary(record: Record) -> dict[str, Any]:
    """The record's numbers under flat names (test/accuracy, seconds/train): what trackers and the last event hold."""
    groups = {"seconds": record.seconds, "speed": record.speed, "memory": record.memory, "ledger": record.ledger}
    groups |= {"work": record.work, "parameters": record.parameters, "contention": record.contention}
    groups |= dict(record.scores)
    values = {
        f"{group}/{name}": quantity.value
        for group, quantities in groups.items()
        for name, quantity in quantities.items()
        if isinstance(quantity, Measured)
    }
    failure = {} if record.failure is None else {"failure": record.failure.kind, "message": record.failure.message}
    return {"status": record.status} | failure | values


def _record(planned: Planned, clocks: Clocks, state: TrainState, device: torch.device, world: World) -> Record:
    none: Mapping[str, Quantity] = {}
    return Record(
        schema=RECORD_VERSION,
        id=planned.id,
        spec=planned.spec,
        status="failed",
        failure=None,
        selected={},
        scores={},
        seconds=clocks.quantities(),
        speed=none,
        memory=none,
        ledger=none,
        work={"steps": Measured(state.step, "step")},
        parameters=none,
        curve=tuple(state.curve),
        data={},
        links=(),
        provenance=provenance(device, world.facts)
        | _images(planned)
        | _quantisation(planned)
        | {"finished": datetime.now(UTC).isoformat(timespec="seconds")},
        attempts=state.attempts,
    )


def _images(planned: Planned) -> dict[str, str]:
    """What read the images of a task that has any; no part of the fingerprint, as it is the same for all methods."""
    return {"images": image_back_end()} if "image" in planned.spec["dataset"]["task"] else {}


def _quantisation(planned: Planned) -> dict[str, str]:
    """What packed the weights of a quantised base."""
    return {"quantization": quantisation_back_end()} if planned.spec["model"].get("quantization") else {}


def _notes(measured: Measures) -> tuple[str, ...]:
    why = measured.not_comparable
    return () if why is None else (NOT_COMPARABLE + why,)


def _parameters(context: RunContext) -> dict[str, Quantity]:
    counts = context.method.counts()
    parameters = counts | {"trainable": sum(counts.values()), "total": parameter_count(context.model)}
    return {name: Measured(value, "parameter") for name, value in parameters.items()}
