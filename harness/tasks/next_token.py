"""Next-token losses at the target positions alone: shifted by one, the prompt masked, in float32 (study, trap 7)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IGNORE = -100  # the label of a position that is no target


@dataclass(frozen=True)
class AtTargets:
    """One entry for each target token of a batch, in the order of its rows."""

    row: Tensor  # which example
    loss: Tensor  # float32 nats
    best: Tensor  # the most likely token
    true: Tensor

    def sums(self, values: Tensor, rows: int) -> Tensor:
        """`values` added up by example: (rows,) float32."""
        return torch.zeros(rows, dtype=torch.float32, device=values.device).index_add(0, self.row, values.float())


def at_targets(logits: Tensor, labels: Tensor) -> AtTargets:
    """Position t of `logits` (batch, tokens, vocabulary) predicts position t + 1 of `labels` (batch, tokens)."""
    wanted = labels[:, 1:] != IGNORE
    picked, true = logits[:, :-1][wanted].float(), labels[:, 1:][wanted]
    losses = torch.nn.functional.cross_entropy(picked, true, reduction="none")
    return AtTargets(row=wanted.nonzero()[:, 0], loss=losses, best=picked.argmax(-1), true=true)


def labels_after(prompts: list[int], ids: Tensor, lengths: list[int]) -> Tensor:
    """Labels (batch, tokens): the ids from each prompt's end to the row's; IGNORE elsewhere."""
    places = np.arange(ids.shape[1])[None, :]
    inside = (places >= np.asarray(prompts)[:, None]) & (places < np.asarray(lengths)[:, None])
    return torch.where(torch.from_numpy(inside), ids, IGNORE)
