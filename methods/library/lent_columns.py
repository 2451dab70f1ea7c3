"""y = x·Wᵀ + b where W holds s·B in some columns only while it is multiplied: one GEMM, and W stays as it was loaded.

What is saved is x at the columns that are trained, as in `methods.update.columns_linear`. As W is written anew for
each product, nothing depends on who changed B: fused optimizers raise no version of a tensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.update.columns_linear import gathered
from methods.update.linear import compute_dtype, frozen_linear, input_gradient


@contextmanager
def lent(weight: Tensor, transposed: bool, scale: float, index: Tensor, b: Tensor) -> Iterator[None]:
    """Inside, W[:, index] holds s·B (out, n) more, rounded once to the dtype of W; `index` is distinct."""
    stored = weight.data.t() if transposed else weight.data  # .data: no tensor that autograd saved counts as changed
    before = stored.index_select(1, index)
    stored.index_copy_(1, index, torch.add(before.to(b.dtype), b, alpha=scale).to(before.dtype))
    try:
        yield
    finally:
        stored.index_copy_(1, index, before)


class _LentColumns(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        transposed: bool,
        scale: float,
        touched: tuple[Tensor, Tensor],
        index: Tensor,
        b: Tensor,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).to(compute_dtype(x))
        selected = gathered(x, flat, index) if ctx.needs_input_grad[7] else None
        ctx.save_for_backward(weight, touched[1], selected)
        ctx.layout = (transposed, scale, x.shape, x.dtype, b.dtype, touched[0])  # the columns outlive every step
        with lent(weight, transposed, scale, *touched):
            y = frozen_linear(flat, weight, bias, transposed)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        transposed, scale, shape, x_dtype, b_dtype, touched = ctx.layout
        weight, values, selected = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        db = None if selected is None else (g.t() @ selected).mul_(scale).to(b_dtype)
        dx = None
        if ctx.needs_input_grad[0]:
            with lent(weight, transposed, scale, touched, values):
                dx = input_gradient(g, weight, transposed).view(shape).to(x_dtype)
        return dx, None, None, None, None, None, None, db


def lent_columns(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    transposed: bool,
    scale: float,
    touched: tuple[Tensor, Tensor],
    index: Tensor,
    b: Tensor,
) -> Tensor:
    """x (…, in) to (…, out). `touched`: all columns (n,) and their B (out, n); `index`, `b`: those that are trained."""
    return _LentColumns.apply(x, weight, bias, transposed, scale, touched, index, b)
