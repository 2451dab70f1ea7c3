"""BitFit: the biases are trained, those of norms among them, and the head (https://arxiv.org/abs/2106.10199, §3)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.method import Draw
from methods.sites import is_within
from methods.whole import HeadMethod


class BiasMethod(HeadMethod):
    """Refuses a model without biases, and one whose biases are of half precision, where small steps are lost."""

    def attach(self, model: nn.Module, draw: Draw) -> None:
        super().attach(model, draw)
        named = {name: p for name, p in model.named_parameters() if name.rpartition(".")[2] == "bias"}
        inside = {name: p for name, p in named.items() if is_within(name, self._layout.within)}
        self._biases = {name: p for name, p in inside.items() if name not in self._head.parameters}
        kind = type(model).__name__
        if not self._biases:
            raise MethodError(f"{self.spec.name}: {kind} has no biases to train; take another method.")
        if any(p.dtype != master_dtype(p.dtype) for p in self._biases.values()):
            raise MethodError(f"{self.spec.name}: biases of half precision cannot be trained; set model.dtype=float32.")
        for bias in self._biases.values():
            bias.requires_grad_(True)

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        adapter = {"name": "adapter", "params": list(self._biases.values()), "lr": lr, "weight_decay": 0.0}
        return [adapter, *super().groups(lr, head_lr, weight_decay)]

    def tensors(self) -> dict[str, Tensor]:
        return {f"bias.{name}": bias.detach() for name, bias in self._biases.items()} | super().tensors()

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().restore(tensors, facts)
        for name, bias in self._biases.items():
            bias.copy_(tensors[f"bias.{name}"])

    def counts(self) -> dict[str, int]:
        return super().counts() | {"adapter": sum(bias.numel() for bias in self._biases.values())}
