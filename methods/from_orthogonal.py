"""How far a factor is from orthogonal: what AdaLoRA's penalty is made of (https://arxiv.org/abs/2303.10512, eq. 4)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def distance(factor: Tensor, by_row: bool) -> Tensor:
    """‖FFᵀ − I‖_F by rows, ‖FᵀF − I‖_F by columns; differentiable once."""
    return _FromOrthogonal.apply(factor, by_row)


class _FromOrthogonal(torch.autograd.Function):
    """Its gradient in F is 0 where it is 0 itself."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, by_row: bool) -> Tensor:
        gram = f @ f.T if by_row else f.T @ f
        off = gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        norm = torch.linalg.matrix_norm(off)
        ctx.save_for_backward(f, off, norm)
        ctx.by_row = by_row
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        f, off, norm = ctx.saved_tensors
        step = off @ f if ctx.by_row else f @ off
        return grad * (2 * step / norm.clamp_min(torch.finfo(f.dtype).tiny)), None
