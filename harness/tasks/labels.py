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
    value = value_at(row, column)
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
