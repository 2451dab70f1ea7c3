"""Labels: names in the card, numbers in the model. A value that the card does not name is an error, never class 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.data.fields import value_at
from harness.ledger.errors import DataError, nearest
from harness.tasks.task import Batch, Prediction


def label_of(row: Mapping[str, Any], column: str, labels: Sequence[str]) -> int:
    """The place of the row's label among `labels`. Columns hold names already (harness.data.classes)."""
    return _place(value_at(row, column), labels)


def labels_of(row: Mapping[str, Any], column: str, labels: Sequence[str]) -> list[int]:
    """The places of the row's labels among `labels`, in ascending order; the column holds lists."""
    values = value_at(row, column)
    if not isinstance(values, list) or not values:
        raise DataError(
            f"'{column}' holds {values!r:.80}; with task.multi_label it must be a list of one label or more."
        )
    return sorted({_place(value, labels) for value in values})


def _place(value: Any, labels: Sequence[str]) -> int:
    if not isinstance(value, str) or value not in labels:
        raise DataError(f"unknown label {value!r}.{nearest(str(value), labels)}")
    return labels.index(value)


def class_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each row of (batch, classes) logits, in float32: (batch,)."""
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def class_predictions(logits: Tensor, batch: Batch, labels: tuple[str, ...]) -> list[Prediction]:
    """score = probability of the target; one device-to-host copy a tensor."""
    logs = logits.float().log_softmax(-1)
    at_target = logs.gather(-1, batch.targets[:, None])[:, 0].tolist()
    best = logits.argmax(-1).tolist()
    probability = [float(value) for value in torch.tensor(at_target, dtype=torch.float64).exp()]
    return [
        Prediction(id=i, target=labels[t], prediction=labels[p], score=s, loss=-log, weight=1)
        for i, t, p, s, log in zip(batch.ids, batch.targets.tolist(), best, probability, at_target, strict=True)
    ]


def multi_label_losses(logits: Tensor, right: Tensor) -> Tensor:
    """-log of the total probability of each row's right classes: (batch,), float32. `right`: (batch, classes) bool."""
    logs = logits.float().log_softmax(-1)
    return -logs.masked_fill(~right, -torch.inf).logsumexp(-1)


def multi_label_predictions(
    logits: Tensor, right: Tensor, ids: Sequence[str], labels: tuple[str, ...]
) -> list[Prediction]:
    """score = total probability of the right classes. The target is the first of these; a prediction that is any of
    them is written as the target, so that accuracy and every paired test see one right answer for each row."""
    losses = multi_label_losses(logits, right)
    best = logits.float().argmax(-1)
    hits = right.gather(-1, best[:, None])[:, 0].tolist()
    firsts = right.int().argmax(-1).tolist()
    probability = losses.double().neg().exp().tolist()
    return [
        Prediction(id=i, target=labels[t], prediction=labels[t if hit else p], score=s, loss=loss, weight=1)
        for i, t, p, hit, s, loss in zip(ids, firsts, best.tolist(), hits, probability, losses.tolist(), strict=True)
    ]
