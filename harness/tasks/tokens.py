"""From text to padded token ids: what all text tasks share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.fields import value_at
from harness.ledger.dataset_spec import Regression, TextClassification
from harness.ledger.errors import DataError
from harness.tasks.prompt import fit, lines, text_of, whole
from harness.tasks.task import Example


@dataclass(frozen=True)
class Reader:
    """How a text or a pair becomes token ids, for one tokenizer and one kind of model."""

    tokenizer: Any
    decoder: bool

    def encode(self, task: TextClassification | Regression, row: Mapping[str, Any]) -> dict[str, Any]:
        """{"input_ids", "shortened"} and, for a pair read by an encoder, {"second"}: where the second text begins."""
        if self.decoder or not task.text:
            prompt = task.prompt or lines(task.text)
            ids, shortened = fit(prompt, row, self.special, self.room(task.max_length))
            if not ids:
                raise DataError(
                    "the prompt is empty, and this model's tokenizer adds no token; give a prompt with words."
                )
            return {"input_ids": ids, "second": len(ids), "shortened": int(shortened)}
        return self._pair([text_of(value_at(row, column), column) for column in task.text], task)

    def show(self, task: TextClassification | Regression, row: Mapping[str, Any]) -> str:
        """What a person reads of it."""
        if self.decoder or not task.text:
            return whole(task.prompt or lines(task.text), row)
        return "\n[SEP] ".join(text_of(value_at(row, column), column) for column in task.text)

    def special(self, text: str) -> list[int]:
        """Token ids with the special tokens that the model expects."""
        return self.tokenizer(text, verbose=False).input_ids

    def plain(self, text: str) -> list[int]:
        """Token ids of the text alone."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids

    def room(self, max_length: int) -> int:
        """The card's length in tokens of this tokenizer, or the model's own where that is smaller."""
        return min(max_length * getattr(self.tokenizer, "stretch", 1), self.tokenizer.model_max_length)

    def _pair(self, texts: Sequence[str], task: TextClassification | Regression) -> dict[str, Any]:
        encoded = self.tokenizer(*texts, verbose=False)
        shortened = len(encoded.input_ids) > (room := self.room(task.max_length))
        if shortened:
            first = task.shorten == "first" and len(texts) == 2
            least = self.tokenizer.num_special_tokens_to_add(pair=len(texts) == 2)  # and at least one more
            least += len(self.plain(texts[1])) if first else 0
            if least >= room:
                what = "the second text must stay whole" if first else "special tokens"
                raise DataError(
                    f"{what}: {least} tokens, and only {room} fit; raise dataset.task.max_length by {least - room + 1}."
                )
            strategy = "only_first" if first else "longest_first"
            encoded = self.tokenizer(*texts, truncation=strategy, max_length=room, verbose=False)
        kinds = encoded.get("token_type_ids", [])
        second = kinds.index(1) if 1 in kinds else len(encoded.input_ids)
        return {"input_ids": encoded.input_ids, "second": second, "shortened": int(shortened)}

    def batch(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Padded on the right to the longest: input_ids, attention_mask and, where a model has them, token_type_ids."""
        ids = pad([example["input_ids"] for example in examples], self.tokenizer.pad_token_id)
        inputs = {"input_ids": ids, "attention_mask": mask([len(example["input_ids"]) for example in examples])}
        if "token_type_ids" in self.tokenizer.model_input_names:
            second = torch.tensor([example["second"] for example in examples])
            inputs["token_type_ids"] = (torch.arange(ids.shape[1]) >= second[:, None]).long() * inputs["attention_mask"]
        return inputs


def pad(rows: Sequence[Sequence[int] | np.ndarray], value: int, *, left: bool = False) -> Tensor:
    """(rows, longest) int64, filled up with `value`."""
    width = max(len(row) for row in rows)
    full = np.full((len(rows), width), value, np.int64)
    for line, row in zip(full, rows, strict=True):
        line[slice(width - len(row), None) if left else slice(len(row))] = row
    return torch.from_numpy(full)


def mask(lengths: Sequence[int]) -> Tensor:
    """(rows, longest) int64: 1 at the first `length` places of each row."""
    counts = torch.tensor(lengths)
    return (torch.arange(int(counts.max())) < counts[:, None]).long()
