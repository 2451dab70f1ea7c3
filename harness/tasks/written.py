"""A written answer about an image, compared with one reference or with all references of its row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import value_at
from harness.ledger.dataset_spec import DatasetSpec, Generation
from harness.ledger.errors import DataError
from harness.tasks.answers import NEEDED, most_frequent, references_of
from harness.tasks.generation import GenerationTask
from harness.tasks.scores import ROW_SCORES
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader


class WrittenAnswer(GenerationTask):
    """Predictions are those of `GenerationTask`; with `answers`, the target is the JSON list of a row's references, and
    the score is the primary metric of the row."""

    def __init__(self, dataset: DatasetSpec, task: Generation, reader: Reader, answers: str | None) -> None:
        super().__init__(dataset, task, reader)
        self._path = answers

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if self._path is None:
            return super().encode(row)
        references = self._answers_at(row)
        example = super().encode({**row, "answer": most_frequent(references)})
        return {**example, "references": json.dumps(references, ensure_ascii=False)}

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        batch = super().collate(examples, rng)
        if self._path is None:
            return batch
        return replace(batch, references=tuple(example["references"] for example in examples))

    def examples_of(self, batch: Batch) -> Tensor:
        """(rows,): which example of the batch each of its rows is about."""
        return torch.arange(len(batch.ids))

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        predictions = super().predict(model, batch)
        if self._path is None:
            return predictions
        of_row = ROW_SCORES[self._dataset.metric]
        return [
            replace(p, target=target, score=of_row(str(p.prediction), json.loads(target)))
            for p, target in zip(predictions, batch.references, strict=True)
        ]

    def show(self, row: Mapping[str, Any]) -> str:
        if self._path is None:
            return super().show(row)
        references = self._answers_at(row)
        return super().show({**row, "answer": most_frequent(references)}) + f"\nreferences: {' | '.join(references)}"

    def _beside(self, batch: Batch, ids: Tensor) -> dict[str, Tensor]:
        """Each prompt has its image; `ids` are the prompts as they are padded for writing."""
        soft = self._reader.tokenizer.image_token_id
        return {"pixel_values": batch.inputs["pixel_values"], "token_type_ids": (ids == soft).long()}

    def _answers_at(self, row: Mapping[str, Any]) -> list[str]:
        assert self._path is not None
        references = references_of(value_at(row, self._path), self._path)
        if "vqa_accuracy" in self._dataset.metrics and len(references) < NEEDED:
            raise DataError(
                f"'{self._path}' has {len(references)} references; vqa_accuracy leaves one out and counts three "
                f"others, so a row needs at least {NEEDED}; anls needs one."
            )
        return references
