"""The training loop: forward, backward, step, and a look at validation now and then. No method or task by name."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.training.checkpoint import save_checkpoint
from harness.data.load import Split
from harness.training.evaluate import predict, score
from harness.ledger.quantity import Measured
from harness.ledger.record import Point
from harness.training.optimizer import forget_adapter, set_rate, trained
from harness.training.context import Best, Diverged, Parts, State, Stop, Stopped
from harness.tasks.task import Batch, Prediction
from harness.training.schedule import Timeline
from methods.method import Loop, Progress

EVENT_SECONDS = 1.0  # between two "step" events: enough for a progress bar, too few to slow a step


def train(
    parts: Parts, state: State, optimizer: torch.optim.Optimizer, line: Timeline, *, save_every: float, stop: Stop
) -> None:
    """Train from `state.step` to the end of the timeline; leaves the best checkpoint in `state.best`.

    `save_every`: seconds between checkpoints. Raises Diverged when the loss is not finite, Stopped (after a checkpoint)
    when `stop()` says so.
    """
    steps = parts.feed.steps(state.step)
    saved = told = time.monotonic()
    parts.model.train()
    while state.step < line.total:
        with parts.clocks.run("train"), parts.memory.window("train"):
            told = _until_evaluation(parts, state, optimizer, line, steps, told, saved + save_every, stop)
        if state.step in line.evaluations:
            with parts.clocks.run("eval"), parts.memory.window("eval"):
                point = _validate(parts, state, line)
            with parts.clocks.run("log"):
                best = state.best.step if state.best else None
                parts.events.say("val", step=state.step, total=line.total, best=best, **_flat(point))
            if _no_better(state, parts.spec.recipe.early_stop):
                return
        due = time.monotonic() >= saved + save_every
        if state.step < line.total and (due or stop()):
            with parts.clocks.run("checkpoint"):
                save_checkpoint(parts, state, optimizer)
            saved = time.monotonic()
        if stop():
            raise Stopped


def _until_evaluation(
    parts: Parts,
    state: State,
    optimizer: torch.optim.Optimizer,
    line: Timeline,
    steps: Iterator[list[Batch]],
    told: float,
    save_at: float,
    stop: Stop,
) -> float:
    """One training window: until the next evaluation, the next checkpoint or a request to stop."""
    losses: list[Tensor] = []
    every = 1 if parts.device.type == "cpu" else 20  # reading a loss waits for a GPU, and costs nothing on a CPU
    while True:
        parts.timer.start()
        window = next(steps)
        losses.append(_step(parts, optimizer, line, window, state.step))
        state.step += 1
        state.samples += (samples := sum(len(batch.ids) for batch in window))
        parts.timer.stop(samples=samples, tokens=sum(b.tokens for b in window), slots=sum(b.slots for b in window))
        if len(losses) == every:
            _read(losses, state, line)
        now = time.monotonic()
        if now - told >= EVENT_SECONDS:
            parts.events.say(
                "step", step=state.step, total=line.total, train_s=round(parts.clocks.seconds()["train"], 3)
            )
            told = now
        if state.step in line.evaluations or state.step >= line.total or now >= save_at or stop():
            break
    _read(losses, state, line)
    return told


def _read(losses: list[Tensor], state: State, line: Timeline) -> None:
    """Add the losses to the state one by one, so that the sum does not depend on where windows end, and forget them."""
    for value in torch.stack(losses).tolist() if losses else []:
        if not math.isfinite(value):
            raise Diverged(f"the training loss is {value} by step {state.step} of {line.total}")
        state.loss_sum += value
        state.loss_steps += 1
    losses.clear()


def _step(parts: Parts, optimizer: torch.optim.Optimizer, line: Timeline, window: list[Batch], step: int) -> Tensor:
    """One optimizer step over its micro-batches; returns the mean loss over the window's weight, on the device."""
    _seed(parts.device, parts.seeds.of("dropout", step))  # the same masks for every method, and after a restart
    set_rate(optimizer, line.rate(step))
    total = backward(parts, window)
    if (limit := parts.spec.recipe.clip_norm) is not None:
        torch.nn.utils.clip_grad_norm_(trained(optimizer), limit)
    optimizer.step()
    verdict = parts.method.after_step(Progress(step + 1, line.total, line.steps_per_epoch))
    optimizer.zero_grad(set_to_none=True)
    if verdict is Loop.FRESH_OPTIMIZER:
        forget_adapter(optimizer)
        parts.events.say("link", **parts.method.links()[-1] | {"step": step + 1})
    return total


def _seed(device: torch.device, seed: int) -> None:
    """The generators that dropout draws from. torch.manual_seed would queue a call, with its stack, for every device
    that is not in use: a third of a millisecond a step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def backward(parts: Parts, window: list[Batch]) -> Tensor:
    """Forward and backward of one optimizer step, micro-batch by micro-batch; returns the mean loss over the weight."""
    weight = sum(batch.weight for batch in window)
    total = torch.zeros((), device=parts.device)
    for batch in window:
        with parts.autocast():
            loss = parts.task.losses(parts.model, batch.to(parts.device)).sum() / weight
        loss.backward()
        total += loss.detach()
    return total


def _validate(parts: Parts, state: State, line: Timeline) -> Point:
    """Score the validation split, keep the point, and keep the weights when they are the best so far."""
    dataset = parts.spec.dataset
    found = score_split(parts, parts.data.validation)
    scores = {name: quantity.value for name, quantity in found.items()}
    point = Point(
        step=state.step,
        epoch=state.step / line.steps_per_epoch,
        train_seconds=parts.clocks.seconds()["train"],
        train_loss=state.loss_sum / max(1, state.loss_steps),
        lr=parts.spec.recipe.lr * line.rate(state.step - 1),
        val=scores,
    )
    state.curve.append(point)
    state.loss_sum, state.loss_steps = 0.0, 0
    value = scores[dataset.metric]
    if state.best is None or _better(value, state.best.value, dataset.direction):
        state.best = Best(state.step, value, found, _copy(parts.method.tensors()), parts.method.facts())
    return point


def score_split(parts: Parts, split: Split, predictions: Sequence[Prediction] | None = None) -> dict[str, Measured]:
    """Every metric of one split, from its predictions (made here unless given)."""
    return score(parts.task, predictions or predict_split(parts, split), len(split))


def predict_split(parts: Parts, split: Split) -> list[Prediction]:
    """Predictions of one split of the run's data, in eval mode, in the order of its rows."""
    return predict(
        parts.model,
        parts.task,
        split,
        split.lengths,
        batch_size=parts.spec.recipe.eval_batch_size,
        device=parts.device,
        autocast=parts.autocast(),
    )


def _better(value: float, than: float, direction: str) -> bool:
    return value > than if direction == "max" else value < than


def _no_better(state: State, patience: int | None) -> bool:
    if patience is None or state.best is None:
        return False
    return sum(point.step > state.best.step for point in state.curve) >= patience


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _flat(point: Point) -> dict[str, Any]:
    return {"epoch": point.epoch, "train_loss": point.train_loss, "lr": point.lr} | {
        f"val_{name}": value for name, value in point.val.items()
    }
