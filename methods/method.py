"""The contract: all that a training loop may ask of a method.

Order of calls: `attach`; `start` of an adapter method, from the adapter of a source run; `begin`, once the length of
the training is known; `restore`, of a run that goes on; `groups`, from which the optimizer is made; then for every
optimizer step `penalty` before it and `after_step` behind it; `merge`. An exported or merged method is attached and
restored alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from methods.training import Training

Draw = Callable[..., torch.Generator]  # draw("selector", module_path, link) is that purpose's own generator


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` optimizer steps of `total` are done.

    validation: every score of the validation split so far, in order, as numbers of which the larger is the better.
    """

    step: int
    total: int
    steps_per_epoch: int
    validation: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Replaced:
    """A parameter that took the place of another one, as a factor of another rank does.

    moments: turns each of the old one's optimizer moments, of its shape, into the new one's. None: it starts with none.
    squares: the same for moments of squared gradients; None: as the others.
    """

    old: nn.Parameter
    new: nn.Parameter
    moments: Callable[[Tensor], Tensor] | None = None
    squares: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Change:
    """What a step changed beside the values of parameters, and so what the loop has to do.

    forget: parameters that stay, and whose optimizer state is dropped. replaced: those that others took the place of;
    `groups` is asked again, and the rest keeps its state. anew: the training begins again, so that the head goes back
    to its first values and the optimizer to none of its state. event: what to log; its key "event" says what it is.
    """

    forget: tuple[nn.Parameter, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    event: Mapping[str, Any] | None = None
    anew: bool = False


NO_CHANGE = Change()


@dataclass(frozen=True)
class Layout:
    """What a method may know of a model: canonical targets, and the head every method trains."""

    targets: Mapping[str, str]  # "q" -> "attention.self.query", or "attn.c_attn[0/3]", a fused part
    head: tuple[str, ...]
    within: str = ""  # path of the module outside of which every method leaves the weights alone; "": the whole model
    writable: bool = True  # whether a method may write into frozen weights: not where they are about to be sharded


class Method(Protocol):
    """A method bound to one model."""

    def attach(self, model: nn.Module, draw: Draw) -> None:
        """Freeze and wrap; the model's output is unchanged. Raises MethodError when a target matches no module."""
        ...

    def begin(self, training: Training) -> None:
        """The length of the training is known. Raises MethodError when the method has no room in it."""
        ...

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimizer groups {"name", "params", "lr", "weight_decay"}; asked again after parameters were replaced.

        Names: adapter, adapter_b, gate, selection (never decayed), base, base_no_decay, head, head_no_decay.
        A group with "constant": True keeps its lr through warm-up and decay.
        """
        ...

    def penalty(self) -> Tensor | None:
        """What is added to the task's loss, a differentiable scalar; called once per optimizer step, before it."""
        ...

    def after_step(self, progress: Progress) -> Change:
        """Called after every optimizer step, while its gradients are still there (`parameter.grad`, after clipping)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that differs from the freshly loaded model, head included; live tensors: clone to keep."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON-ready state beside the tensors: the finished links of a chain, ..."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The reverse, on an attached model, bit for bit. Parameters may be new ones: build the optimizer after it."""
        ...

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        """Whether an earlier state, by its `facts`, is no candidate for the result any more: it has another size."""
        ...

    def history(self) -> list[dict[str, Any]]:
        """One JSON-ready entry per change so far; of a chain's link: index, step, update norm, columns touched."""
        ...

    def counts(self) -> dict[str, int]:
        """Trainable parameters: adapter (or base weights), head."""
        ...

    def merge(self) -> None:
        """W <- W + ΔW; adapters gone: plain modules remain and the function is unchanged."""
        ...
