"""Regression: one number for a text or a pair; squared error against the label as it stands in the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import as_number, value_at
from harness.ledger.dataset_spec import DatasetSpec, Regression
from harness.ledger.errors import DataError
from harness.ledger.quantity import Measured
from harness.tasks.prompt import inputs_of
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader


class RegressionTask:
    """Predictions hold numbers; score = the predicted number too."""

    def __init__(self, dataset: DatasetSpec, task: Regression, reader: Reader) -> None:
        self._dataset, self._task, self._reader = dataset, task, reader

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "target": _number(row, self._task.label),
            **self._reader.encode(self._task, inputs_of(self._dataset, row)),
        }

    def length(self, example: Example) -> int:
        return len(example["input_ids"])

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        inputs = self._reader.batch(examples)
        targets = torch.tensor([example["target"] for example in examples], dtype=torch.float32)
        tokens = sum(len(example["input_ids"]) for example in examples)
        ids = tuple(example["id"] for example in examples)
        return Batch(
            inputs, targets, ids, weight=len(examples), tokens=tokens, padded_tokens=inputs["input_ids"].numel()
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return (model(**batch.inputs).logits[:, 0].float() - batch.targets) ** 2

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        predicted = model(**batch.inputs).logits[:, 0].float()
        losses = ((predicted - batch.targets) ** 2).tolist()
        return [
            Prediction(id=i, target=t, prediction=p, score=p, loss=loss, weight=1)
            for i, t, p, loss in zip(batch.ids, batch.targets.tolist(), predicted.tolist(), losses, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics)

    def show(self, row: Mapping[str, Any]) -> str:
        """Text and number, for `peftlab show`."""
        return f"{self._reader.show(self._task, inputs_of(self._dataset, row))}\n→ {_number(row, self._task.label)}"


def _number(row: Mapping[str, Any], column: str) -> float:
    value = value_at(row, column)
    number = as_number(value)
    if number is None:
        raise DataError(f"column '{column}' holds {value!r}; a regression needs a number.")
    return number
