"""The gradient of a loss after one step of the inner parameters, with respect to the outer ones.

With inner parameters v and outer ones w: ∇_w L_out(v - ξ·∇_v L_in(v, w), w)
= ∂_w L_out(v', w) - ∂_w ∂_v L_in(v, w)·(ξ·∇_v L_out(v', w)), the second product by central differences of ∂_w L_in
(DARTS, arXiv:1806.09055, eq. 7 and 8; AutoLoRA, arXiv:2403.09113, §3.2). The inner step is plain gradient descent.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

RADIUS = 0.01  # norm of the difference's step: DARTS's ε times the norm of its direction


def bilevel_backward(
    inner: Sequence[nn.Parameter],
    rates: Sequence[float],
    outer: Sequence[nn.Parameter],
    inner_loss: Callable[[], Tensor],
    outer_loss: Callable[[], Tensor],
) -> Tensor:
    """Leave ∇_v L_in in the gradients of `inner`, and the hypergradient in those of `outer`; values are unchanged.

    Each loss goes forward and backward when it is called, the same way every time. rates: ξ of each inner parameter.
    Returns the inner loss.
    """
    total = inner_loss()
    slope = _taken(inner)
    _taken(outer)
    start = [parameter.detach().clone() for parameter in inner]
    _put(inner, start, slope, [-rate for rate in rates])
    outer_loss()
    direct, direction = _taken(outer), _taken(inner)
    along = [rate * part for rate, part in zip(rates, direction, strict=True)]
    tiny = torch.finfo(along[0].dtype).tiny
    reach = RADIUS / torch.stack([part.norm() for part in along]).norm().clamp_min(tiny)
    sides = []
    for sign in (1.0, -1.0):
        _put(inner, start, along, [sign * reach] * len(along))
        inner_loss()
        sides.append(_taken(outer))
        _taken(inner)
    _put(inner, start, slope, [0.0] * len(slope))
    for parameter, gradient in zip(inner, slope, strict=True):
        parameter.grad = gradient
    for parameter, first, above, below in zip(outer, direct, *sides, strict=True):
        parameter.grad = first - (above - below) / (2 * reach)
    return total


def _taken(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients, zeros where there is none; the parameters have none afterwards."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


@torch.no_grad()
def _put(
    parameters: Sequence[nn.Parameter],
    start: Sequence[Tensor],
    along: Sequence[Tensor],
    steps: Sequence[float | Tensor],
) -> None:
    """parameter <- start + step·along."""
    for parameter, first, part, step in zip(parameters, start, along, steps, strict=True):
        parameter.copy_(first + step * part)
