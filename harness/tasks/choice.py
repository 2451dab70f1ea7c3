"""Choice: every candidate is read after the prompt; the likeliest one (mean log-likelihood per token) is the answer.

Trained by cross-entropy over these means, so training and test use one definition.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.dataset_spec import Choice, DatasetSpec
from harness.ledger.errors import DataError
from harness.ledger.quantity import Measured
from harness.tasks.labels import class_losses, class_predictions, label_of
from harness.tasks.next_token import at_targets, labels_after
from harness.tasks.prompt import fit, render, whole
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader, mask, pad


class ChoiceTask:
    """Predictions hold label names; score = probability of the target among the candidates.

    In a batch the candidates of an example are neighbouring rows: input_ids is (batch · candidates, tokens).
    """

    def __init__(self, dataset: DatasetSpec, task: Choice, reader: Reader) -> None:
        if len(task.candidates) != len(task.labels):
            raise DataError(
                f"dataset {dataset.name}: {len(task.candidates)} candidates, {len(task.labels)} labels; give one each."
            )
        self._dataset, self._task, self._reader = dataset, task, reader

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        candidates = [self._reader.plain(render(template, row)) for template in self._task.candidates]
        if not all(candidates):
            raise DataError("a candidate is empty; it has no likelihood.")
        room = self._reader.room(self._task.max_length) - max(map(len, candidates))
        prompt, shortened = fit(self._task.prompt, row, self._reader.special, room)
        return {
            "target": label_of(row, self._task.label, self._task.labels),
            "input_ids": prompt,
            "candidates": [token for candidate in candidates for token in candidate],
            "sizes": [len(candidate) for candidate in candidates],
            "shortened": int(shortened),
        }

    def length(self, example: Example) -> int:
        return len(example["input_ids"]) + max(map(int, example["sizes"]))

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        rows, starts = [], []
        for example in examples:
            prompt, flat = list(example["input_ids"]), iter(map(int, example["candidates"]))
            rows += [prompt + [next(flat) for _ in range(size)] for size in example["sizes"]]
            starts += [max(len(prompt), 1)] * len(example["sizes"])
        lengths = [len(row) for row in rows]
        ids = pad(rows, self._reader.tokenizer.pad_token_id)
        labels = labels_after(starts, ids, lengths)
        right = torch.tensor([example["target"] for example in examples])
        return Batch(
            inputs={"input_ids": ids, "attention_mask": mask(lengths)},
            targets=_marked(labels.view(len(examples), -1, ids.shape[1]), right),
            ids=tuple(example["id"] for example in examples),
            weight=len(examples),
            tokens=sum(lengths),
            padded_tokens=ids.numel(),
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return class_losses(_means(model, batch), _right(batch))

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        plain = Batch(batch.inputs, _right(batch), batch.ids, batch.weight, batch.tokens, batch.padded_tokens)
        return class_predictions(_means(model, batch), plain, self._task.labels)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics, positive=self._task.labels[-1])

    def show(self, row: Mapping[str, Any]) -> str:
        """Prompt, candidates and the right one, for `peftlab show`."""
        right = label_of(row, self._task.label, self._task.labels)
        candidates = (
            f"{'→' if i == right else ' '} {render(text, row)}" for i, text in enumerate(self._task.candidates)
        )
        return "\n".join([whole(self._task.prompt, row), *candidates])


def _marked(labels: Tensor, right: Tensor) -> Tensor:
    """Place 0 of a row is never a target, so it says which candidate is right: 1, else 0."""
    labels[:, :, 0] = torch.nn.functional.one_hot(right, labels.shape[1])
    return labels


def _right(batch: Batch) -> Tensor:
    return batch.targets[:, :, 0].argmax(-1)


def _means(model: nn.Module, batch: Batch) -> Tensor:
    """(batch, candidates): mean log-likelihood per token of each candidate."""
    examples, candidates, tokens = batch.targets.shape
    found = at_targets(model(**batch.inputs).logits, batch.targets.view(-1, tokens))
    counts = found.sums(torch.ones_like(found.loss), examples * candidates)
    return (-found.sums(found.loss, examples * candidates) / counts).view(examples, candidates)
