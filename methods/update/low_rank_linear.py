"""The fast path of low-rank updates: y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ as one autograd node.

Against the plain expression it makes no copy of y (the update is added in place, with the scale folded in) and saves no
more than the gradients need: x when A is trained, x·Aᵀ (rank numbers a token) when B is trained. With A frozen, as in
Asym-LoRA and RAC-LoRA, x is not kept at all. Under autocast W is cast again for the input gradient rather than kept.
Valid for any plain floating weight; `methods.inject` adds the branch for sharded or quantised ones.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.update.linear import Span, compute_dtype, frozen_linear, input_gradient


class _LowRankLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        transposed: bool,
        scale: float,
        spans: Sequence[Span],
        *factors: Tensor,
    ) -> Tensor:
        dtype = compute_dtype(x)
        flat = x.reshape(-1, x.shape[-1]).to(dtype)
        y = frozen_linear(flat, weight, bias, transposed)
        thin = []
        for (low, high), a, b in zip(spans, factors[::2], factors[1::2], strict=True):
            thin.append(flat @ a.to(dtype).t())
            y[:, low:high].addmm_(thin[-1], b.to(dtype).t(), alpha=scale)
        train_a, train_b = any(ctx.needs_input_grad[6::2]), any(ctx.needs_input_grad[7::2])
        ctx.save_for_backward(weight, x if train_a else None, *factors, *(thin if train_b else ()))
        ctx.layout = (transposed, scale, spans, x.shape, x.dtype)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        transposed, scale, spans, shape, x_dtype = ctx.layout
        weight, x, *rest = ctx.saved_tensors
        factors, thin = rest[: 2 * len(spans)], rest[2 * len(spans) :]
        g = grad.reshape(-1, grad.shape[-1])
        flat = None if x is None else x.reshape(-1, shape[-1]).to(g.dtype)
        dx = input_gradient(g, weight, transposed) if ctx.needs_input_grad[0] else None
        gradients: list[Tensor | None] = []
        for n, ((low, high), a, b) in enumerate(zip(spans, factors[::2], factors[1::2], strict=True)):
            rows = g[:, low:high]
            needs_a, needs_b = ctx.needs_input_grad[6 + 2 * n : 8 + 2 * n]
            narrow = rows @ b.to(g.dtype)  # (tokens, rank)
            if dx is not None:
                dx.addmm_(narrow, a.to(g.dtype), alpha=scale)
            gradients.append((narrow.t() @ flat).mul_(scale).to(a.dtype) if needs_a and flat is not None else None)
            gradients.append((rows.t() @ thin[n]).mul_(scale).to(b.dtype) if needs_b else None)
        return None if dx is None else dx.view(shape).to(x_dtype), None, None, None, None, None, *gradients


def low_rank_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    transposed: bool,
    scale: float,
    spans: Sequence[Span],
    factors: Sequence[Tensor],
) -> Tensor:
    """x (…, in) to (…, out); `factors` is A₁, B₁, A₂, B₂ … with A (rank, in) and B (rows of its span, rank)."""
    return _LowRankLinear.apply(x, weight, bias, transposed, scale, tuple(spans), *factors)
