"""A tensor with only some of its parameters: at random with rescale (DARE, arXiv:2311.03099), or by magnitude."""

from typing import Literal

import torch
from torch import Tensor

How = Literal["random", "magnitude"]


def drop(tensor: Tensor, kept: float, how: How, generator: torch.Generator | None = None) -> Tensor:
    """`tensor` with a share `kept` of its entries and zeros elsewhere; raises ValueError outside (0, 1].

    random: each entry stays with that probability, times 1 / kept, so that the expected value of each entry stays, and
    that of B·A where B and A are drawn apart. magnitude: the largest stay as they are, at least one.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"a share of {kept} is not above 0 and at most 1")
    if how == "random":
        mask = torch.rand(tensor.shape, generator=generator).to(tensor.device) < kept
        return tensor * mask / kept
    number = max(1, round(kept * tensor.numel()))
    largest = tensor.abs().flatten().topk(number).indices
    mask = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device).index_fill_(0, largest, True)
    return tensor * mask.view(tensor.shape)
