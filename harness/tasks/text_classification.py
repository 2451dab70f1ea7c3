"""Text classification: one text or a pair, by an encoder's head or a decoder's last token. Cross-entropy."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.dataset_spec import DatasetSpec, TextClassification
from harness.ledger.quantity import Measured
from harness.tasks.labels import class_losses, class_predictions, label_of
from harness.tasks.prompt import inputs_of
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader


class TextClassificationTask:
    """Predictions hold label names; score = probability of the target."""

    def __init__(self, dataset: DatasetSpec, task: TextClassification, reader: Reader) -> None:
        self._dataset, self._task, self._reader = dataset, task, reader

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        target = self._label(row)
        return {"target": target, **self._reader.encode(self._task, inputs_of(self._dataset, row))}

    def _label(self, row: Mapping[str, Any]) -> int:
        return label_of(row, self._task.label, self._task.labels)

    def length(self, example: Example) -> int:
        return len(example["input_ids"])

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        inputs = self._reader.batch(examples)
        return Batch(
            inputs=inputs,
            targets=torch.tensor([example["target"] for example in examples]),
            ids=tuple(example["id"] for example in examples),
            weight=len(examples),
            tokens=sum(len(example["input_ids"]) for example in examples),
            padded_tokens=inputs["input_ids"].numel(),
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return class_losses(model(**batch.inputs).logits, batch.targets)

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        return class_predictions(model(**batch.inputs).logits, batch, self._task.labels)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics, positive=self._task.labels[-1])

    def show(self, row: Mapping[str, Any]) -> str:
        """Text and label, for `peftlab show`."""
        number = self._label(row)
        text = self._reader.show(self._task, inputs_of(self._dataset, row))
        return f"{text}\n→ {self._task.labels[number]} (class {number})"
