"""The fast path of column updates: W already holds W0[:, idx] + s·B, so the forward is the plain product x·Wᵀ + b.

One GEMM forward, one for the input gradient, and dB = s·gᵀ·x[:, idx], for which only x[:, idx] is saved: `rank` numbers
a token, as in PaCA (https://arxiv.org/abs/2503.01905). B enters as the tensor that receives the gradient.
Neighbours that read the same x and select the same columns (q, k and v under cLA) keep one copy of x[:, idx] together.
Needs a weight whose columns can be written; `methods.inject` adds the branch for sharded or quantised ones.
"""

from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.update.linear import Span, compute_dtype, frozen_linear, input_gradient

_last: tuple[Any, ...] = ()  # weak: x, its version, an index, and x[:, index] of the last gather


def gathered(x: Tensor, flat: Tensor, index: Tensor) -> Tensor:
    """flat[:, index], or the very tensor of the call before when it was of the same x and index."""
    global _last
    if torch.compiler.is_compiling():
        return flat.index_select(1, index)
    if _last and _last[0]() is x and _last[1] == x._version and _last[2]() is index:
        known = _last[3]()
        if known is not None and known.dtype == flat.dtype:
            return known
    selected = flat.index_select(1, index)
    _last = (ref(x), x._version, ref(index), ref(selected))
    return selected


class _ColumnsLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        transposed: bool,
        scale: float,
        spans: Sequence[Span],
        *pairs: Tensor,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).to(compute_dtype(x))
        trained = any(ctx.needs_input_grad[7::2])
        selected = [gathered(x, flat, index) for index in pairs[::2]] if trained else []
        ctx.save_for_backward(weight, *selected)
        ctx.layout = (transposed, scale, spans, x.shape, x.dtype, [b.dtype for b in pairs[1::2]])
        y = frozen_linear(flat, weight, bias, transposed)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        transposed, scale, spans, shape, x_dtype, b_dtypes = ctx.layout
        weight, *selected = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        gradients: list[Tensor | None] = []
        for n, (low, high) in enumerate(spans):
            needed = ctx.needs_input_grad[7 + 2 * n]
            gradients += [None, (g[:, low:high].t() @ selected[n]).mul_(scale).to(b_dtypes[n]) if needed else None]
        dx = input_gradient(g, weight, transposed).view(shape).to(x_dtype) if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None, None, *gradients


def columns_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    transposed: bool,
    scale: float,
    spans: Sequence[Span],
    pairs: Sequence[Tensor],
) -> Tensor:
    """x (…, in) to (…, out); `pairs` is idx₁, B₁, idx₂, B₂ … with idx (rank,) and B (rows of its span, rank)."""
    return _ColumnsLinear.apply(x, weight, bias, transposed, scale, tuple(spans), *pairs)
