"""The two methods without an adapter: full fine-tuning (every weight) and head-only.

Full fine-tuning of half-precision weights trains them in float32 (its master copy) and rounds once at `merge`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.head import TrainedHead, decayed
from methods.method import NO_CHANGE, Change, Draw, Layout, Progress
from methods.quantised import quantised_modules
from methods.sites import is_within
from methods.spec import MethodSpec
from methods.training import Training


class HeadMethod:
    """Everything frozen, the head trained. Refuses a model whose head is tied to its embeddings."""

    def __init__(self, spec: MethodSpec, layout: Layout) -> None:
        self.spec = spec
        self._layout = layout

    def attach(self, model: nn.Module, draw: Draw) -> None:
        self._head = TrainedHead(model, self._layout.head)
        if not self._head.parameters and type(self) is HeadMethod:
            raise MethodError(f"{self.spec.name}: {type(model).__name__} has no head of its own; take another method.")

    def begin(self, training: Training) -> None:
        """Any length will do."""

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return self._head.groups(head_lr, weight_decay)

    def penalty(self) -> Tensor | None:
        return None

    def after_step(self, progress: Progress) -> Change:
        return NO_CHANGE

    def tensors(self) -> dict[str, Tensor]:
        return self._head.tensors()

    def facts(self) -> dict[str, Any]:
        return {}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._head.restore(tensors)

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        return False

    def history(self) -> list[dict[str, Any]]:
        return []

    def counts(self) -> dict[str, int]:
        return {"adapter": 0, "head": self._head.count()}

    def merge(self) -> None:
        self._head.merge()


class FullMethod(HeadMethod):
    """All within the layout trained: matrices decay, biases, norms and other vectors do not (study, §1.2 row 1)."""

    def attach(self, model: nn.Module, draw: Draw) -> None:
        super().attach(model, draw)
        if next(quantised_modules(model), None):
            raise MethodError(f"{self.spec.name} trains every weight, and those of this model are quantised.")
        inside = {name: p for name, p in model.named_parameters() if is_within(name, self._layout.within)}
        self._base = {name: p for name, p in inside.items() if name not in self._head.parameters}
        self._dtypes = {name: parameter.dtype for name, parameter in self._base.items()}
        for parameter in self._base.values():
            parameter.data = parameter.data.to(master_dtype(parameter.dtype))
            parameter.requires_grad_(True)
        stored = model.state_dict().keys()
        self._buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return decayed("base", list(self._base.values()), lr, weight_decay) + super().groups(lr, head_lr, weight_decay)

    def tensors(self) -> dict[str, Tensor]:
        base = {f"base.{name}": tensor.detach() for name, tensor in (self._base | self._buffers).items()}
        return base | super().tensors()

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().restore(tensors, facts)
        for name, tensor in (self._base | self._buffers).items():
            tensor.copy_(tensors[f"base.{name}"])

    def counts(self) -> dict[str, int]:
        """`adapter` counts the base weights, all of which are trained."""
        return {"adapter": sum(p.numel() for p in self._base.values()), "head": self._head.count()}

    def merge(self) -> None:
        super().merge()
        for name, parameter in self._base.items():
            parameter.data = parameter.data.to(self._dtypes[name])
