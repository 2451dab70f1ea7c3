"""What a method may know of a training before its first step. Standard library only, so that planning can ask too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """The whole training: `total` optimizer steps, and the recipe's learning rate of the adapters."""

    total: int
    steps_per_epoch: int
    lr: float
