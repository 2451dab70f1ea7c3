"""The training loop: forward, backward, step, and a look at validation now and then. No method or task by name."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.data.load import Split
from harness.ledger.quantity import Measured
from harness.ledger.record import Point
from harness.tasks.task import Batch, Prediction
from harness.training.checkpoint import save_checkpoint
from harness.training.context import Best, Diverged, RunContext, Stop, Stopped, TrainState
from harness.training.dropout import masks_of_rows
from harness.training.evaluate import predict, score
from harness.training.optimizer import apply_change, clip, optimizer_groups, set_rate, trained
from harness.training.schedule import TrainSchedule
from methods.method import Progress

EVENT_SECONDS = 1.0  # between two "step" events: enough for a progress bar, too few to slow a step


def train(
    context: RunContext,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    schedule: TrainSchedule,
    *,
    save_every: float,
    stop: Stop,
) -> None:
    """Train from `state.step` to the end of the timeline; leaves the best checkpoint in `state.best`.

    `save_every`: seconds between checkpoints. Raises Diverged when the loss is not finite, Stopped (after a checkpoint)
    when `stop()` says so.
    """
    steps = context.loader.steps(state.step)
    saved = last_event_at = time.monotonic()
    context.model.train()
    if not schedule.total:
        _evaluate(context, state, schedule)
    while state.step < schedule.total:
        with context.clocks.run("train"), context.memory.window("train"), context.contention.window():
            last_event_at = _until_evaluation(
                context, state, optimizer, schedule, steps, last_event_at, saved + save_every, stop
            )
        if state.step in schedule.evaluations:
            _evaluate(context, state, schedule)
            if _no_better(state, context.spec.recipe.early_stop):
                return
        due = state.step < schedule.total and (time.monotonic() >= saved + save_every or stop())
        if context.world.any(due)[0]:
            with context.clocks.run("checkpoint"):
                save_checkpoint(context, state, optimizer)
            saved = time.monotonic()
        if context.world.any(stop())[0]:
            raise Stopped


def _evaluate(context: RunContext, state: TrainState, schedule: TrainSchedule) -> None:
    """A look at the validation split, and its event."""
    with context.clocks.run("eval"), context.memory.window("eval"):
        point = _validate(context, state, schedule)
    with context.clocks.run("log"):
        best = state.best.step if state.best else None
        context.events.emit("val", step=state.step, total=schedule.total, best=best, **_flat(point))


def _until_evaluation(
    context: RunContext,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    schedule: TrainSchedule,
    steps: Iterator[list[Batch]],
    last_event_at: float,
    save_at: float,
    stop: Stop,
) -> float:
    """One training window: until the next evaluation, the next checkpoint or a request to stop."""
    losses: list[Tensor] = []
    every = 1 if context.device.type == "cpu" else 20  # reading a loss waits for a GPU, and costs nothing on a CPU
    while True:
        context.timer.start()
        window = next(steps)
        losses.append(_step(context, optimizer, schedule, window, state))
        state.step += 1
        state.samples += (samples := sum(len(batch.ids) for batch in window))
        context.timer.stop(
            samples=samples, tokens=sum(b.tokens for b in window), padded_tokens=sum(b.padded_tokens for b in window)
        )
        if len(losses) == every:
            _read(losses, state, schedule)
        now = time.monotonic()
        if now - last_event_at >= EVENT_SECONDS:
            context.events.emit(
                "step", step=state.step, total=schedule.total, train_s=round(context.clocks.seconds()["train"], 3)
            )
            last_event_at = now
        if state.step in schedule.evaluations or state.step >= schedule.total:
            break
        if context.world.ends_window(state.step, every, now >= save_at or stop()):
            break
    _read(losses, state, schedule)
    return last_event_at


def _read(losses: list[Tensor], state: TrainState, schedule: TrainSchedule) -> None:
    """Add the losses to the state one by one, so that the sum does not depend on where windows end, and forget them."""
    for value in torch.stack(losses).tolist() if losses else []:
        if not math.isfinite(value):
            raise Diverged(f"the training loss is {value} by step {state.step} of {schedule.total}")
        state.loss_sum += value
        state.loss_steps += 1
    losses.clear()


def _step(
    context: RunContext,
    optimizer: torch.optim.Optimizer,
    schedule: TrainSchedule,
    window: list[Batch],
    state: TrainState,
) -> Tensor:
    """One optimizer step over its micro-batches; returns the loss of `backward`, on the device."""
    step = state.step
    seed_dropout(context, step)
    set_rate(optimizer, schedule.rate(step))
    procedure = context.procedure
    total = backward(context, window) if procedure is None else procedure.backward(context, optimizer, window, step)
    context.world.add_gradients(trained(optimizer))
    if (limit := context.spec.recipe.clip_norm) is not None:
        clip(optimizer, limit)
    optimizer.step()
    scores = _validation_scores(context, state)
    change = context.method.after_step(Progress(step + 1, schedule.total, schedule.steps_per_epoch, scores))
    optimizer.zero_grad(set_to_none=True)  # not before: a method may read the gradients of the step
    apply_change(optimizer, change, lambda: optimizer_groups(context.method, context.spec.recipe))
    if change.event is not None:
        facts: dict[str, Any] = {**change.event, "step": step + 1}
        context.events.emit(**facts)
    return total


def _validation_scores(context: RunContext, state: TrainState) -> tuple[float, ...]:
    """All that a method may know of them: the metric that selects, as numbers of which the larger is the better."""
    dataset = context.spec.dataset
    return tuple(point.val[dataset.metric] * (1 if dataset.direction == "max" else -1) for point in state.curve)


def seed_dropout(context: RunContext, step: int) -> None:
    """The generators that dropout draws from: the same masks for every method, and after a restart.

    torch.manual_seed would queue a call, with its stack, for every device that is not in use: a third of a millisecond.
    """
    seed = context.seeds.of("dropout", step)
    torch.default_generator.manual_seed(seed)
    if context.device.type == "cuda":
        torch.cuda.manual_seed(seed)


def backward(context: RunContext, window: list[Batch]) -> Tensor:
    """Forward and backward of one optimizer step, micro-batch by micro-batch; of several processes, each its rows.

    Returns what is minimised: the mean loss over the window's weight, and the method's penalty once.
    """
    weight, world = sum(batch.weight for batch in window), context.world
    total = torch.zeros((), device=context.device)
    if world.first and (penalty := context.method.penalty()) is not None:
        penalty.backward()
        total += penalty.detach()
    for batch in window:
        low, high = world.rows(len(batch.ids))
        counted = float(low < high)  # fewer rows than processes: all take part, as a model may be sharded
        high = max(high, low + 1)
        mine = batch if world.size == 1 else batch.part(low, high)
        with masks_of_rows(context.model, *batch.rows(low, high), len(batch.targets)):
            with context.autocast():
                loss = context.task.losses(context.model, mine.to(context.device)).sum() * counted / weight
            loss.backward()
        total += loss.detach()
    return world.add(total)


def _validate(context: RunContext, state: TrainState, schedule: TrainSchedule) -> Point:
    """Score the validation split, keep the point, and keep the weights when they are the best so far."""
    dataset = context.spec.dataset
    quantities = score_split(context, context.data.validation)
    scores = {name: quantity.value for name, quantity in quantities.items()}
    point = Point(
        step=state.step,
        epoch=state.step / schedule.steps_per_epoch,
        train_seconds=context.clocks.seconds()["train"],
        train_loss=state.loss_sum / max(1, state.loss_steps),
        lr=context.spec.recipe.lr * schedule.rate(max(0, state.step - 1)),
        val=scores,
    )
    state.curve.append(point)
    state.loss_sum, state.loss_steps = 0.0, 0
    value = scores[dataset.metric]
    best = None if state.best is None or context.method.outdates(state.best.facts) else state.best
    if best is None or _better(value, best.value, dataset.direction):
        state.best = Best(state.step, value, quantities, context.gathered(), context.method.facts())
    return point


def score_split(
    context: RunContext, split: Split, predictions: Sequence[Prediction] | None = None
) -> dict[str, Measured]:
    """Every metric of one split, from its predictions (made here unless given)."""
    return score(context.task, predictions or predict_split(context, split), len(split))


def predict_split(context: RunContext, split: Split) -> list[Prediction]:
    """Predictions of one split of the run's data, in eval mode, in the order of its rows."""
    return predict(
        context.model,
        context.task,
        split,
        split.lengths,
        batch_size=context.spec.recipe.eval_batch_size,
        device=context.device,
        autocast=context.autocast(),
        world=context.world,
    )


def _better(value: float, than: float, direction: str) -> bool:
    return value > than if direction == "max" else value < than


def _no_better(state: TrainState, patience: int | None) -> bool:
    if patience is None or state.best is None:
        return False
    return sum(point.step > state.best.step for point in state.curve) >= patience


def _flat(point: Point) -> dict[str, Any]:
    return {"epoch": point.epoch, "train_loss": point.train_loss, "lr": point.lr} | {
        f"val_{name}": value for name, value in point.val.items()
    }
