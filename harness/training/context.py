"""What one run is made of once everything is loaded, and what changes while it trains."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.data.load import Data
from harness.ledger.events import Events
from harness.ledger.paths import RunPaths
from harness.ledger.quantity import Measured
from harness.ledger.record import Point
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.measure.clocks import Clocks, StepTimer
from harness.measure.contention import Contention
from harness.measure.memory import Memory
from harness.measure.precision import autocast
from harness.models.load import LoadedModel
from harness.tasks.task import Batch, Task
from harness.training.loader import DataLoader
from harness.training.sharding import gather_tensors, scatter_tensors
from harness.training.world import ALONE, World
from methods.method import Method


class Procedure(Protocol):
    """A training whose gradients are of more than the loss of one batch (`harness.training.procedures`)."""

    @property
    def passes(self) -> float:
        """Forward and backward passes of an optimizer step, in the mean over the training."""
        ...

    def backward(
        self, context: "RunContext", optimizer: torch.optim.Optimizer, window: list[Batch], step: int
    ) -> Tensor:
        """Leave every gradient of optimizer step `step` (from 0); returns the training loss, on the device."""
        ...


@dataclass(frozen=True)
class RunContext:
    """Everything that stays the same from the first step to the last."""

    spec: RunSpec
    folder: RunPaths
    loaded: LoadedModel
    model: nn.Module
    method: Method
    task: Task
    data: Data
    loader: DataLoader
    seeds: Seeds
    device: torch.device
    clocks: Clocks
    timer: StepTimer
    memory: Memory
    contention: Contention
    events: Events
    source: Path | None = None  # adapter/ of the run that this one starts from
    procedure: Procedure | None = None  # None: the gradients are of the training loss
    world: World = ALONE  # the processes that do the run together

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where the recipe and the device have it, else nothing."""
        return autocast(self.spec.recipe.precision, self.device)

    def gathered(self) -> dict[str, Tensor]:
        """Copies of the method's tensors in host memory; those that are sharded for the first process alone."""
        return gather_tensors(self.method.tensors(), self.world.first)

    def scattered(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What `method.restore` takes, of what `gathered` gave."""
        return scatter_tensors(tensors, self.method.tensors())


@dataclass(frozen=True)
class Best:
    """The checkpoint that validation prefers so far; it is the one that is tested."""

    step: int
    value: float
    scores: Mapping[str, Measured]  # of the validation split
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass
class TrainState:
    """Everything that changes. A checkpoint holds all of it, and the optimizer."""

    step: int = 0
    curve: list[Point] = field(default_factory=list)
    best: Best | None = None
    loss_sum: float = 0.0  # since the last point
    loss_steps: int = 0
    samples: int = 0
    attempts: int = 1
    links: tuple[Mapping[str, Any], ...] = ()  # of the whole chain, taken before the best checkpoint is put back


Stop = Callable[[], bool]


class Diverged(ArithmeticError):
    """The training loss is not finite."""


class Stopped(BaseException):
    """Asked to stop (a time limit, a preemption): the checkpoint is written and no record is; the run goes on later."""
