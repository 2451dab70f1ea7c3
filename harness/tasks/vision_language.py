"""Vision-language tasks: an image, a question, and an answer that is the likeliest candidate or written greedily.

The image is before the text. The answers are trained and scored by the tasks of text alone (`choice`, `generation`),
which see the image's tokens as the beginning of the prompt. Images are decoded by PIL when a batch is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import value_at
from harness.ledger.dataset_spec import Choice, DatasetSpec, Generation, VisionLanguage
from harness.ledger.errors import DataError
from harness.ledger.quantity import Measured
from harness.models.loaded import VisionProcessor
from harness.tasks.images import content, decode, stack
from harness.tasks.one_token import OneTokenChoice
from harness.tasks.reads_images import ReadsImages
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader
from harness.tasks.written import WrittenAnswer


@dataclass(frozen=True)
class ImageReader(Reader):
    """Reads a text with the image's tokens before it."""

    processor: VisionProcessor

    @cached_property
    def image_length(self) -> int:
        """How many tokens the image adds to a text."""
        return len(self.special(".")) - len(super().special("."))

    def special(self, text: str) -> list[int]:
        return super().special(self.processor.image_text + text)

    def room(self, max_length: int) -> int:
        """The card's length is that of the text."""
        return min(super().room(max_length) + self.image_length, self.tokenizer.model_max_length)


class VisionLanguageTask:
    """Predictions are those of `ChoiceTask` (label names), or of `WrittenAnswer`."""

    def __init__(self, dataset: DatasetSpec, task: VisionLanguage, processor: VisionProcessor) -> None:
        self._task, self._processor = task, processor
        self._answers = _answers(dataset, task, ImageReader(processor.tokenizer, True, processor))

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        raw = content(value_at(row, self._task.image))
        decode(raw, self._processor.image, self._processor.image.size)  # what is no image is refused here
        example = self._answers.encode(row)
        self._check(example["input_ids"])
        return {**example, "image": raw}

    def length(self, example: Example) -> int:
        return self._answers.length(example)

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        """The text's batch with pixel_values (images, channels, size, size), token_type_ids (1 at the image's tokens)
        and `images`: which image each row of the batch is about."""
        for example in examples:
            self._check(example["input_ids"])
        batch, processor = self._answers.collate(examples, rng), self._processor
        ids, image = batch.inputs["input_ids"], processor.image
        pixels = [decode(bytes(example["image"]), image, image.size) for example in examples]
        seen = {
            "token_type_ids": (ids == processor.tokenizer.image_token_id).long(),
            "pixel_values": stack(pixels, image, image.size),
            "images": self._answers.examples_of(batch),
        }
        return replace(batch, inputs={**batch.inputs, **seen})

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._answers.losses(ReadsImages(model), batch)

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        return self._answers.predict(ReadsImages(model), batch)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return self._answers.score(predictions)

    def show(self, row: Mapping[str, Any]) -> str:
        """Size of the image, prompt and answer, for `peftlab show`; needs no tokenizer."""
        image = decode(value_at(row, self._task.image), self._processor.image, 1 << 30)
        return f"image of {image['width']} × {image['height']} pixels\n{self._answers.show(row)}"

    def _check(self, ids: Sequence[int]) -> None:
        """Raises DataError unless the image's tokens are all there, and no other ones."""
        soft = self._processor.tokenizer.image_token_id
        count = sum(int(token) == soft for token in ids)
        if count != self._processor.tokens:
            raise DataError(
                f"the text has {count} image tokens, and its image needs {self._processor.tokens}; "
                f"none may be cut off, and the data must hold no {self._processor.tokenizer.image_token}."
            )


def _answers(dataset: DatasetSpec, task: VisionLanguage, reader: ImageReader) -> OneTokenChoice | WrittenAnswer:
    if task.answer == "generation":
        assert task.target is not None and task.max_new_tokens is not None, "the card says so"
        written = Generation("generation", task.prompt, task.target, task.max_length, task.max_new_tokens)
        return WrittenAnswer(dataset, written, reader, task.answers)
    assert task.label is not None, "the card says so"
    choice = Choice(
        "choice", task.prompt, task.candidates, task.label, task.labels, task.max_length, task.options, task.aliases
    )
    return OneTokenChoice(dataset, choice, reader)
