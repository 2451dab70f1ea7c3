"""What the loop may ask of a task, and the values that pass between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.ledger.quantity import Measured

Example = Mapping[str, Any]  # an encoded row: "id" (str), "target", and what `collate` needs


@dataclass(frozen=True)
class Batch:
    """A padded micro-batch. `inputs` go to the model as keyword arguments."""

    inputs: Mapping[str, Tensor]
    targets: Tensor  # what `losses` compares with; its shape is the task's own business
    ids: tuple[str, ...]
    weight: int  # what the summed loss is divided by: examples, or target tokens of a causal LM
    tokens: int  # non-padding input tokens (image tasks: patches)
    padded_tokens: int  # input tokens with padding
    references: tuple[str, ...] = ()  # of written answers with several references: a JSON list for each example
    counts: tuple[int, ...] = ()  # rows of each example, where it has several: neighbours in `inputs` and `targets`

    def to(self, device: torch.device) -> "Batch":
        moved = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=moved, targets=self.targets.to(device, non_blocking=True))

    def rows(self, low: int, high: int) -> tuple[int, int]:
        """First and end of the rows of examples `low` to `high`."""
        return (sum(self.counts[:low]), sum(self.counts[:high])) if self.counts else (low, high)

    def part(self, low: int, high: int) -> "Batch":
        """Examples `low` to `high`, padded as they are here; weight and token counts stay those of the whole."""
        low_row, high_row = self.rows(low, high)
        inputs = {name: value[low_row:high_row] for name, value in self.inputs.items()}
        if "images" in self.inputs:  # one for each example, and which of them each row is about
            inputs |= {"images": inputs["images"] - low, "pixel_values": self.inputs["pixel_values"][low:high]}
        return replace(
            self,
            inputs=inputs,
            targets=self.targets[low_row:high_row],
            ids=self.ids[low:high],
            references=self.references[low:high],
            counts=self.counts[low:high],
        )


@dataclass(frozen=True)
class Prediction:
    """One example, as it is kept in predictions.parquet."""

    id: str
    target: str | float
    prediction: str | float
    score: float  # probability of the target, or the value a regression gave; the task's file says which
    loss: float  # summed over the example's weight
    weight: int


class Task(Protocol):
    """A kind of task bound to one dataset card and one model's processor."""

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One raw row to an Example (tokenised once and cached); raises DataError for an unknown label."""
        ...

    def length(self, example: Example) -> int:
        """Input tokens of an example, for length bucketing; equal for all where there is nothing to pad."""
        ...

    def collate(self, examples: Sequence[Example], rng: torch.Generator | None) -> Batch:
        """A padded batch. `rng` is given in training only: augmentation draws from it."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Loss of each example, summed over its weight: (batch,), float32. Sum / `weight` is the training loss."""
        ...

    def predict(self, model: nn.Module, batch: Batch) -> list[Prediction]:
        """In eval mode under no_grad."""
        ...

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Measured]:
        """Every metric of the card, and "loss" (weighted mean)."""
        ...

    def show(self, row: Mapping[str, Any]) -> str:
        """A raw row as a person reads it: the text a model gets, and the answer."""
        ...
