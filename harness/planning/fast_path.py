"""What a fast path is held by: outputs and all gradients of every adapted module, off its start, in float64."""

from typing import Any

import torch
from torch import Tensor, nn

from methods.inject import Adapted
from methods.method import Progress
from methods.sites import features

RELATIVE, ABSOLUTE = 1e-10, 1e-11  # of float64


def adapted(model: nn.Module) -> list[Adapted]:
    """The modules that hold updates."""
    return [module for module in model.modules() if isinstance(module, Adapted)]


def move(method: Any) -> None:
    """Every trained tensor off its start, by the same numbers for the same method."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for update in method.updates.values():
            for parameter in update.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            update.after_step(Progress(1, 10, 5))


def moved_outputs(model: nn.Module, method: Any) -> list[Tensor]:
    """Outputs (training, evaluation), input and parameter gradients of every adapted module, for one input each."""
    move(method)
    generator, values = torch.Generator().manual_seed(3), []
    for layer in adapted(model):
        width = features(layer.base)[1]
        x = torch.randn(2, 5, width, generator=generator, dtype=torch.float64, requires_grad=True)
        y = layer(x)
        g = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        values += [y, *torch.autograd.grad(y, [x, *layer.updates.parameters()], g), layer.eval()(x)]
    return values


def differing(one: Tensor, two: Tensor) -> bool:
    """Whether they differ by more than rounding."""
    return not torch.allclose(one, two, rtol=RELATIVE, atol=ABSOLUTE)
