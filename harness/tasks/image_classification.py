"""Image classification: one image, one label. Cross-entropy; flips in training where the card asks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import value_at
from harness.ledger.dataset_spec import DatasetSpec, ImageClassification
from harness.ledger.quantity import Measured
from harness.models.loaded import ImageProcessor
from harness.tasks.images import decode, flipped, stack
from harness.tasks.labels import class_losses, class_predictions, label_of
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction


class ImageClassificationTask:
    """Predictions hold label names; score = probability of the target."""

    def __init__(self, dataset: DatasetSpec, task: ImageClassification, processor: ImageProcessor, patch: int) -> None:
        self._dataset, self._task, self._processor = dataset, task, processor
        self._size = task.image_size or processor.size
        self._patches = (self._size // patch) ** 2
        # a pretrained ViT has positions for its own size only
        self._extra = {"interpolate_pos_encoding": True} if self._size != processor.size else {}

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        target = label_of(row, self._task.label, self._task.labels)
        return {"target": target, **decode(value_at(row, self._task.image), self._processor, self._size)}

    def length(self, example: Example) -> int:
        return self._patches

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        pixels = stack(examples, self._processor, self._size)
        if self._task.flip and rng is not None:
            pixels = flipped(pixels, rng)
        patches = self._patches * len(examples)
        targets = torch.tensor([example["target"] for example in examples])
        ids = tuple(example["id"] for example in examples)
        return Batch(
            {"pixel_values": pixels}, targets, ids, weight=len(examples), tokens=patches, padded_tokens=patches
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return class_losses(model(**batch.inputs, **self._extra).logits, batch.targets)

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        return class_predictions(model(**batch.inputs, **self._extra).logits, batch, self._task.labels)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics, positive=self._task.labels[-1])

    def show(self, row: Mapping[str, Any]) -> str:
        """Size and label, for `peftlab show`."""
        image = decode(value_at(row, self._task.image), self._processor, 1 << 30)
        number = label_of(row, self._task.label, self._task.labels)
        return f"image of {image['width']} × {image['height']} pixels\n→ {self._task.labels[number]} (class {number})"
