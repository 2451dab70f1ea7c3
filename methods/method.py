"""The contract: all that a training loop may ask of a method."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Draw = Callable[..., torch.Generator]  # draw("selector", module_path, link) is that purpose's own generator


class Loop(Enum):
    """What the loop does next."""

    GO = "go"
    FRESH_OPTIMIZER = "fresh optimizer"  # adapter parameters changed identity: their optimizer state must be dropped


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` optimizer steps of `total` are done."""

    step: int
    total: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Layout:
    """What a method may know of a model: canonical targets, and the head every method trains."""

    targets: Mapping[str, str]  # "q" -> "attention.self.query", or "attn.c_attn[0/3]", a fused part
    head: tuple[str, ...]


class Method(Protocol):
    """A method bound to one model. Order of calls: attach, then training, then merge."""

    def attach(self, model: nn.Module, draw: Draw) -> None:
        """Freeze and wrap; the model's output is unchanged. Raises MethodError when a target matches no module."""
        ...

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimizer groups {"name", "params", "lr", "weight_decay"}.

        Names: adapter, adapter_b (never decayed), base, base_no_decay, head, head_no_decay.
        """
        ...

    def after_step(self, progress: Progress) -> Loop:
        """Called after every optimizer step: column writes, and the end of a chain link (never at the last step)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that differs from the freshly loaded model, head included; live tensors: clone to keep."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON-ready state beside the tensors: link index, ..."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The reverse, on an attached model, bit for bit."""
        ...

    def links(self) -> list[dict[str, Any]]:
        """One JSON-ready entry per finished chain link: index, step, update norm, columns touched."""
        ...

    def counts(self) -> dict[str, int]:
        """Trainable parameters: adapter (or base weights), head."""
        ...

    def merge(self) -> None:
        """W <- W + ΔW; adapters gone: plain modules remain and the function is unchanged."""
        ...
