"""y = x·Wᵀ + b of a frozen weight, stored as (out, in) or transposed, and the dtype in which it is computed."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Span = tuple[int, int]  # rows of W that one update moves


@dataclass(frozen=True, eq=False)
class FrozenLinear:
    """A linear module whose weight is not trained, and the rows that each of its updates moves."""

    module: nn.Module
    transposed: bool
    spans: tuple[Span, ...]

    @property
    def weight(self) -> Tensor:
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias(self) -> Tensor | None:
        bias = self.module.bias
        return bias if isinstance(bias, Tensor) else None


def compute_dtype(x: Tensor) -> torch.dtype:
    """Autocast's dtype where it is on for x (never for float64), else that of x. Meta tensors stand for a GPU's."""
    kind = "cuda" if x.device.type == "meta" else x.device.type
    if x.dtype is not torch.float64 and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def frozen_linear(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """x (tokens, in) to (tokens, out), in the dtype of x."""
    stored = weight.to(x.dtype)
    shift = None if bias is None else bias.to(x.dtype)
    if not transposed:
        return F.linear(x, stored, shift)
    return x @ stored if shift is None else torch.addmm(shift, x, stored)


def input_gradient(g: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """g (tokens, out) to (tokens, in), in the dtype of g."""
    stored = weight.to(g.dtype)
    return g @ (stored.t() if transposed else stored)
