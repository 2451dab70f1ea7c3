"""Choice between candidates that are one token each: all of them are read off the prompt's last position.

The same likelihoods as `ChoiceTask` gives, at the cost of one row an example in the place of one a candidate.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.tasks.choice import ChoiceTask, example_of_row
from harness.tasks.labels import class_losses, class_predictions
from harness.tasks.task import Batch, Example, Prediction
from harness.tasks.tokens import mask, pad

NONE = -1  # fills up the candidates of an example that has fewer


class OneTokenChoice(ChoiceTask):
    """In a batch of one-token candidates input_ids is (batch, tokens), padded on the left, and targets is (batch, 1 +
    most candidates): the number of the right one, and each one's token. Any other batch is that of `ChoiceTask`."""

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        if any(size != 1 for example in examples for size in example["sizes"]):
            return super().collate(examples, rng)
        prompts = [example["input_ids"] for example in examples]
        lengths = [len(prompt) for prompt in prompts]
        ids = pad(prompts, self._reader.tokenizer.pad_token_id, left=True)
        right = torch.tensor([[example["target"]] for example in examples])
        return Batch(
            inputs={"input_ids": ids, "attention_mask": mask(lengths).flip(-1)},
            targets=torch.cat([right, pad([example["candidates"] for example in examples], NONE)], dim=1),
            ids=tuple(example["id"] for example in examples),
            weight=len(examples),
            tokens=sum(lengths),
            padded_tokens=ids.numel(),
        )

    def examples_of(self, batch: Batch) -> Tensor:
        """(rows,): which example of the batch each of its rows is about."""
        return torch.arange(len(batch.ids)) if _is_one_row_each(batch) else example_of_row(batch)

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        if not _is_one_row_each(batch):
            return super().losses(model, batch)
        return class_losses(_logs(model, batch), batch.targets[:, 0])

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        if not _is_one_row_each(batch):
            return super().predict(model, batch)
        return class_predictions(_logs(model, batch), replace(batch, targets=batch.targets[:, 0]), self._task.labels)


def _is_one_row_each(batch: Batch) -> bool:
    """A batch of `ChoiceTask` has at least two rows an example."""
    return len(batch.targets) == len(batch.ids)


def _logs(model: nn.Module, batch: Batch) -> Tensor:
    """(batch, most candidates): log-likelihood of each candidate's token; -inf where an example has fewer."""
    logs = model(**batch.inputs, logits_to_keep=1).logits[:, -1].float().log_softmax(-1)
    tokens = batch.targets[:, 1:]
    return logs.gather(1, tokens.clamp(min=0)).masked_fill(tokens == NONE, -torch.inf)
