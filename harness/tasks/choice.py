"""Choice: every candidate is read after the prompt; the likeliest one (mean log-likelihood per token) is the answer.

Trained by cross-entropy over these means, so training and test use one definition.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import value_at
from harness.ledger.dataset_spec import Choice, DatasetSpec
from harness.ledger.errors import DataError
from harness.ledger.quantity import Measured
from harness.tasks.labels import (
    class_losses,
    class_predictions,
    label_of,
    labels_of,
    multi_label_losses,
    multi_label_predictions,
)
from harness.tasks.next_token import at_targets, labels_after
from harness.tasks.prompt import fit, inputs_of, render, whole
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader, mask, pad


class ChoiceTask:
    """Predictions hold label names; score = probability of the target among the candidates.

    In a batch the candidates of an example are neighbouring rows: input_ids is (batch · candidates, tokens).
    """

    def __init__(self, dataset: DatasetSpec, task: Choice, reader: Reader) -> None:
        if task.options is not None and len(task.candidates) != 1:
            raise DataError(f"with task.options, candidates is one template; it has {len(task.candidates)}.")
        if task.options is None and len(task.candidates) != len(task.labels):
            raise DataError(f"{len(task.candidates)} candidates, {len(task.labels)} labels; give one each.")
        if task.multi_label and (others := set(dataset.metrics) - {"accuracy"}):
            raise DataError(f"with task.multi_label the one metric is accuracy; metrics names {sorted(others)[0]} too.")
        self._dataset, self._task, self._reader = dataset, task, reader

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        candidates = [self._reader.plain(text) for text in self._candidates(row)]
        if not all(candidates):
            raise DataError("a candidate is empty; it has no likelihood.")
        right = self._right(row, len(candidates))
        room = self._reader.room(self._task.max_length) - max(map(len, candidates))
        prompt, shortened = fit(self._task.prompt, inputs_of(self._dataset, row), self._reader.special, room)
        if len(prompt) + min(map(len, candidates)) < 2:
            raise DataError("a candidate is one token with none before it; give a prompt.")
        return {
            "target": right if self._task.multi_label else right[0],
            "input_ids": prompt,
            "candidates": [token for candidate in candidates for token in candidate],
            "sizes": [len(candidate) for candidate in candidates],
            "shortened": int(shortened),
        }

    def _candidates(self, row: Mapping[str, Any]) -> list[str]:
        """The texts between which the row chooses."""
        task = self._task
        if task.options is None:
            _check_all_are_read(task.candidates, row)
            return [render(template, row) for template in task.candidates]
        options = value_at(row, task.options)
        if not isinstance(options, list) or not 2 <= len(options) <= len(task.labels):
            raise DataError(
                f"'{task.options}' holds {options!r:.80}; it must be a list of 2 to {len(task.labels)} options."
            )
        return [render(task.candidates[0], {**row, "option": option}) for option in options]

    def _right(self, row: Mapping[str, Any], count: int) -> list[int]:
        """The numbers of the right candidates: one, or with `multi_label` one or more."""
        task = self._task
        numbers = (
            labels_of(row, task.label, task.labels) if task.multi_label else [label_of(row, task.label, task.labels)]
        )
        if (last := numbers[-1]) >= count:
            raise DataError(f"the label is {task.labels[last]}, number {last + 1} of {count} options.")
        return numbers

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
        counts = [len(example["sizes"]) for example in examples]
        return Batch(
            inputs={"input_ids": ids, "attention_mask": mask(lengths)},
            targets=_marked(labels_after(starts, ids, lengths), counts, [_numbers(e["target"]) for e in examples]),
            ids=tuple(example["id"] for example in examples),
            weight=len(examples),
            tokens=sum(lengths),
            padded_tokens=ids.numel(),
            counts=tuple(counts),
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        means = _means(model, batch)
        return (
            multi_label_losses(means, _all_right(batch))
            if self._task.multi_label
            else class_losses(means, _right(batch))
        )

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        if self._task.multi_label:
            return multi_label_predictions(_means(model, batch), _all_right(batch), batch.ids, self._task.labels)
        plain = Batch(batch.inputs, _right(batch), batch.ids, batch.weight, batch.tokens, batch.padded_tokens)
        return class_predictions(_means(model, batch), plain, self._task.labels)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics, positive=self._task.labels[-1])

    def show(self, row: Mapping[str, Any]) -> str:
        """Prompt, candidates and the right ones, for `peftlab show`."""
        texts = self._candidates(row)
        right = self._right(row, len(texts))
        candidates = (f"{'→' if i in right else ' '} {text}" for i, text in enumerate(texts))
        return "\n".join([whole(self._task.prompt, inputs_of(self._dataset, row)), *candidates])


def _check_all_are_read(templates: Sequence[str], row: Mapping[str, Any]) -> None:
    """Raises DataError when the templates read items of one list, and the row's list has others too."""
    items = [re.search(r"\{([^{}:]+)\[(\d+)\][:}]", template) for template in templates]
    paths = {item[1] for item in items if item}
    if not all(items) or len(paths) > 1:
        return
    options = value_at(row, path := paths.pop())
    if isinstance(options, list) and len(options) != len(templates):
        raise DataError(
            f"'{path}' has {len(options)} options and the card {len(templates)} candidates; "
            f'for rows with different numbers of options give options: {path}, candidates: [" {{option}}"].'
        )


def _numbers(target: Any) -> list[int]:
    """The right candidates of an encoded example: a number, or a list of them as a view of the file."""
    return [int(number) for number in (target if hasattr(target, "__len__") else [target])]


def _marked(labels: Tensor, counts: Sequence[int], right: Sequence[Sequence[int]]) -> Tensor:
    """Place 0 of a row is never a target, so it says what the row is: 2 for an example's first candidate, and 1 more
    for a right one."""
    firsts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    labels[:, 0] = 0
    labels[firsts, 0] += 2
    for first, numbers in zip(firsts.tolist(), right, strict=True):
        labels[[first + number for number in numbers], 0] += 1
    return labels


def _right(batch: Batch) -> Tensor:
    """(batch,): the number of the right candidate of each example."""
    _, place = _places(batch)
    return place[batch.targets[:, 0] % 2 == 1]


def _all_right(batch: Batch) -> Tensor:
    """(batch, most candidates) bool: the right candidates of each example."""
    example, place = _places(batch)
    right = torch.zeros(len(batch.ids), int(place.max()) + 1, dtype=torch.bool, device=place.device)
    return right.index_put((example, place), batch.targets[:, 0] % 2 == 1)


def example_of_row(batch: Batch) -> Tensor:
    """(rows,): which example of the batch each row is a candidate of."""
    return _places(batch)[0]


def _places(batch: Batch) -> tuple[Tensor, Tensor]:
    """For each row: its example, and which candidate of that it is."""
    first = batch.targets[:, 0] >= 2
    example = first.long().cumsum(0) - 1
    starts = first.nonzero()[:, 0]
    return example, torch.arange(len(first), device=first.device) - starts[example]


def _means(model: nn.Module, batch: Batch) -> Tensor:
    """(batch, most candidates): mean log-likelihood per token of each candidate; -inf where an example has fewer."""
    tokens = at_targets(model(**batch.inputs).logits, batch.targets)
    rows = len(batch.targets)
    means = -tokens.sums(tokens.loss, rows) / tokens.sums(torch.ones_like(tokens.loss), rows)
    example, place = _places(batch)
    padded = means.new_full((len(batch.ids), int(place.max()) + 1), -torch.inf)
    return padded.index_put((example, place), means)
