"""One pass over a split in eval mode: predictions of every example, and the scores they give."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from harness.ledger.quantity import Measured
from harness.tasks.task import Example, Prediction, Task
from harness.training.context import Diverged
from harness.training.loader import in_order
from harness.training.world import ALONE, World


def predict(
    model: nn.Module,
    task: Task,
    examples: Sequence[Example],
    lengths: Sequence[int],
    *,
    batch_size: int,
    device: torch.device,
    autocast: AbstractContextManager[None],
    world: World = ALONE,
) -> list[Prediction]:
    """Predictions of the whole split, in the order of its rows. The model's mode is put back.

    Several processes take turns at whole batches, so that each prediction is made as by one process alone.
    """
    by_row: dict[int, Prediction] = {}
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), autocast:  # not inference_mode: models cache tensors that training then needs
            for rows, batch in in_order(examples, lengths, task, batch_size, world):
                by_row |= zip(rows, task.predict(model, batch.to(device)), strict=True)
    finally:
        model.train(training)
    by_row = {row: prediction for part in world.gather(by_row) for row, prediction in part.items()}
    return [by_row[row] for row in sorted(by_row)]


def score(task: Task, predictions: Sequence[Prediction], expected: int) -> dict[str, Measured]:
    """The task's metrics. A pass that lost or doubled an example is an error, not a score.

    Raises Diverged when the loss of an example is not finite.
    """
    assert len(predictions) == expected, f"{len(predictions)} predictions of {expected} examples"
    if lost := [prediction.id for prediction in predictions if not math.isfinite(prediction.loss)]:
        raise Diverged(f"the loss of {len(lost)} of {expected} evaluated examples is not finite ({lost[0]} first)")
    return task.score(predictions)
