"""Causal language modelling: a target after a prompt. The loss is on the target's tokens alone, and token-weighted."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.dataset_spec import CausalLM, DatasetSpec, Generation
from harness.ledger.errors import DataError
from harness.ledger.quantity import Measured
from harness.tasks.next_token import at_targets, labels_after
from harness.tasks.prompt import fit, inputs_of, render, whole
from harness.tasks.scores import score
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader, mask, pad


class CausalLMTask:
    """Predictions hold the target and the most likely token at each of its places, as text, each given the true ones
    before it; score = share of these tokens that are right, weight = how many there are. Where all are right, greedy
    decoding writes the target too, so exact_match needs no decoding."""

    def __init__(self, dataset: DatasetSpec, task: CausalLM | Generation, reader: Reader) -> None:
        self._dataset, self._task, self._reader = dataset, task, reader
        self._end = isinstance(task, Generation) or task.end

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        target, row = self._reader.plain(render(self._task.target, row)), inputs_of(self._dataset, row)
        if self._end:
            target = [*target, self._reader.tokenizer.eos_token_id]
        if not target:
            raise DataError("the target is empty; there is nothing to learn from this row.")
        room = self._reader.room(self._task.max_length)
        kept = min(len(target), max(room - self._least(row), 1))  # a target longer than the whole room loses its end
        prompt, shortened = fit(self._task.prompt, row, self._reader.special, room - kept)
        ids = prompt + target[:kept]
        if len(ids) < 2:
            raise DataError(
                "prompt and target are one token together, and the first has none before it; give a prompt."
            )
        return {"input_ids": ids, "prompt": len(prompt), "shortened": int(shortened or kept < len(target))}

    def length(self, example: Example) -> int:
        return len(example["input_ids"])

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        lengths = [len(example["input_ids"]) for example in examples]
        ids = pad([example["input_ids"] for example in examples], self._reader.tokenizer.pad_token_id)
        starts = [max(example["prompt"], 1) for example in examples]  # nothing comes before the first token
        return Batch(
            inputs={"input_ids": ids, "attention_mask": mask(lengths)},
            targets=labels_after(starts, ids, lengths),
            ids=tuple(example["id"] for example in examples),
            weight=sum(lengths) - sum(starts),
            tokens=sum(lengths),
            padded_tokens=ids.numel(),
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        tokens = at_targets(model(**batch.inputs).logits, batch.targets)
        return tokens.sums(tokens.loss, len(batch.ids))

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        tokens = at_targets(model(**batch.inputs).logits, batch.targets)
        rows = len(batch.ids)
        losses = tokens.sums(tokens.loss, rows).tolist()
        right = tokens.sums(tokens.best == tokens.true, rows).tolist()
        counts = torch.bincount(tokens.row, minlength=rows).tolist()
        predicted, true = self._texts(tokens.best, counts), self._texts(tokens.true, counts)
        return [
            Prediction(id=i, target=t, prediction=p, score=r / n, loss=loss, weight=n)
            for i, t, p, r, n, loss in zip(batch.ids, true, predicted, right, counts, losses, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        return score(predictions, self._dataset.metrics)

    def show(self, row: Mapping[str, Any]) -> str:
        """Prompt and target, for `peftlab show`."""
        return f"{whole(self._task.prompt, inputs_of(self._dataset, row))}\n→ {render(self._task.target, row)}"

    def _least(self, row: Mapping[str, Any]) -> int:
        """Tokens of the prompt without its context, which may not be dropped."""
        prompt = self._task.prompt
        return len(self._reader.special(render(prompt.before, row) + render(prompt.after, row)))

    def _texts(self, tokens: Tensor, counts: Sequence[int]) -> list[str]:
        """Special tokens stay visible: a target that ends is not equal to a prediction that goes on."""
        parts = tokens.cpu().split(list(counts))
        return [self._reader.tokenizer.decode(part.tolist(), clean_up_tokenization_spaces=False) for part in parts]
