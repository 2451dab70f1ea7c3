"""Generation: trained as a causal LM; scored on what greedy decoding writes after the prompt."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.fields import value_at
from harness.ledger.dataset_spec import DatasetSpec, Generation
from harness.ledger.errors import DataError
from harness.tasks.causal_lm import CausalLMTask
from harness.tasks.next_token import IGNORE, at_targets
from harness.tasks.prompt import text_of
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import Reader, mask, pad


class GenerationTask(CausalLMTask):
    """Predictions hold the written text and the reference; score = 1 where they are equal, else 0; the loss stays that
    of the reference, teacher-forced. With `references`, a written text that is any of them is kept as the target, so
    that exact_match and every paired test see one right answer for each row."""

    def __init__(self, dataset: DatasetSpec, task: Generation, reader: Reader) -> None:
        super().__init__(dataset, task, reader)
        self._new_tokens, self._several = task.max_new_tokens, task.references

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        example = super().encode(row)
        if self._several is None:
            return example
        return {**example, "references": json.dumps(_texts_at(row, self._several), ensure_ascii=False)}

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        batch = super().collate(examples, rng)
        if self._several is None:
            return batch
        return replace(batch, references=tuple(example["references"] for example in examples))

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        tokens = at_targets(model(**batch.inputs).logits, batch.targets)
        rows = len(batch.ids)
        losses = tokens.sums(tokens.loss, rows).tolist()
        counts = torch.bincount(tokens.row, minlength=rows).tolist()
        references = [text.strip() for text in self._plain_texts(tokens.true.cpu().split(counts))]
        written = [text.strip() for text in self._written(model, batch)]
        if self._several is not None:
            several = map(json.loads, batch.references)
            written = [r if w in right else w for w, r, right in zip(written, references, several, strict=True)]
        return [
            Prediction(id=i, target=r, prediction=w, score=float(w == r), loss=loss, weight=n)
            for i, r, w, loss, n in zip(batch.ids, references, written, losses, counts, strict=True)
        ]

    def _written(self, model: nn.Module, batch: Batch) -> list[str]:
        """Greedy continuations; prompts are padded on the left, so that all of them end where writing begins."""
        from transformers import GenerationConfig

        tokenizer = self._reader.tokenizer
        prompts = _prompts(batch)
        ids = pad(prompts, tokenizer.pad_token_id, left=True)
        attention = mask([len(prompt) for prompt in prompts]).flip(-1)
        config = GenerationConfig(
            max_new_tokens=self._new_tokens, do_sample=False, num_beams=1, use_cache=True,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        device = batch.targets.device
        inputs = {"input_ids": ids, "attention_mask": attention, **self._beside(batch, ids)}
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        out = model.generate(**inputs, generation_config=config)  # type: ignore[operator]
        return self._plain_texts(out[:, ids.shape[1] :].cpu())

    def _beside(self, batch: Batch, ids: Tensor) -> dict[str, Tensor]:
        """What the model reads beside the prompts `ids`."""
        return {}

    def _plain_texts(self, rows: Iterable[Tensor]) -> list[str]:
        return [self._reader.tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in rows]


def _texts_at(row: Mapping[str, Any], path: str) -> list[str]:
    """The texts of the list at `path`, without blanks around them. Raises DataError when there is no such list."""
    values = value_at(row, path)
    if not isinstance(values, list) or not values:
        raise DataError(f"'{path}' holds {values!r:.80}; task.references is the path of a list of one text or more.")
    return [text_of(value, path).strip() for value in values]


def _prompts(batch: Batch) -> list[list[int]]:
    """The tokens of each row that are neither padding nor target."""
    kept: Tensor = (batch.inputs["attention_mask"] == 1) & (batch.targets == IGNORE)
    return [row[keep].tolist() for row, keep in zip(batch.inputs["input_ids"].cpu(), kept.cpu(), strict=True)]
