"""First values of a factor, drawn on the CPU so that every device starts from the same numbers."""

import math

import torch
from torch import Generator, Tensor

from methods.spec import Init


def factor(init: Init, shape: tuple[int, int], generator: Generator) -> Tensor:
    """A (rank, in) or B (out, rank) as float32.

    kaiming_uniform: U(-1/√columns, 1/√columns), peft's and torch's default (a = √5). normal: N(0, 0.02²), as in the
    study's P1. orthonormal: the thinner side's vectors, uniform over frames (AsymLoRA, https://arxiv.org/abs/2402.16842).
    """
    if init == "zero":
        return torch.zeros(shape, dtype=torch.float32)
    if init == "kaiming_uniform":
        return (torch.rand(shape, generator=generator, dtype=torch.float32) * 2 - 1) / math.sqrt(shape[1])
    if init == "normal":
        return torch.randn(shape, generator=generator, dtype=torch.float32) * 0.02
    frame = torch.empty(shape, dtype=torch.float32)
    return torch.nn.init.orthogonal_(frame, generator=generator)
