"""Curvature of a loss: the largest eigenvalue and the trace of its Hessian, by products of it with vectors.

A product is the gradient of (gradient · vector), reverse over reverse; the Hessian itself is never formed. The graph of
the gradient is kept from one product to the next where the loss is one batch's. Attention takes PyTorch's plain kernel
meanwhile: the fused ones have no second derivative on CPUs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector

Product = Callable[[Tensor], Tensor]
BASIS = 10  # vectors of Lanczos' method, so many products before it is first asked whether the value has settled


@dataclass(frozen=True)
class TraceEstimate:
    """The mean of vᵀHv over random signs v, and its standard error."""

    trace: float
    error: float


@dataclass(frozen=True, eq=False)
class Hessian:
    """That of a sum of losses with respect to parameters, at the values that they have at the first product.

    Each of `losses` computes its share of the loss from the same examples at every call, without dropout: a batch's.
    """

    losses: Sequence[Callable[[], Tensor]]
    parameters: Sequence[Tensor]

    @property
    def size(self) -> int:
        """How many rows and columns it has."""
        return sum(parameter.numel() for parameter in self.parameters)

    def times(self, vector: Tensor) -> Tensor:
        """(size,) H·v in the dtype and on the device of the parameters; `parameters` one after the other."""
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        shaped = [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            if len(self.losses) == 1:
                return self._along(self._kept_gradients, shaped, is_kept=True)
            products = [self._along(self._gradients(loss), shaped, is_kept=False) for loss in self.losses]
        return torch.stack(products).sum(0)

    @cached_property
    def _kept_gradients(self) -> tuple[Tensor, ...]:
        return self._gradients(self.losses[0])

    def _gradients(self, loss: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(), self.parameters, create_graph=True, materialize_grads=True)

    def _along(self, gradients: Sequence[Tensor], vector: Sequence[Tensor], is_kept: bool) -> Tensor:
        """The gradient of (gradient · vector)."""
        pairs = [(part, along) for part, along in zip(gradients, vector, strict=True) if part.requires_grad]
        if not pairs:  # a loss that is linear in all of them
            return torch.zeros_like(parameters_to_vector(gradients))
        values, parts = zip(*pairs, strict=True)
        product = torch.autograd.grad(values, self.parameters, parts, retain_graph=is_kept, materialize_grads=True)
        return parameters_to_vector([part.contiguous() for part in product])


def largest_eigenvalue(
    hessian: Hessian, generator: torch.Generator, tolerance: float = 1e-4, most: int | None = None
) -> float:
    """The largest eigenvalue, not the largest in magnitude, to a relative tolerance, by Lanczos' method.

    The generator, on the CPU, draws the first vector. Raises ArpackNoConvergence after some `most` products.
    """
    if hessian.size == 1:
        return float(hessian.times(torch.ones_like(hessian.parameters[0]).flatten()))
    operator = cast(Any, LinearOperator)((hessian.size,) * 2, matvec=lambda x: _times(hessian, x), dtype=np.float64)
    start = torch.randn(hessian.size, generator=generator, dtype=torch.float64).numpy()
    lanczos, count = cast(Any, eigsh), min(BASIS, hessian.size)
    limits = {"ncv": count, "maxiter": most and -(-most // count), "tol": tolerance}
    return float(lanczos(operator, 1, which="LA", v0=start, return_eigenvectors=False, **limits)[0])


def trace(hessian: Hessian, draws: int, generator: torch.Generator) -> TraceEstimate:
    """Hutchinson's estimate from so many vectors of random signs, drawn on the CPU. Raises ValueError for one."""
    if draws < 2:
        raise ValueError(f"{draws} draws give no standard error; take at least 2")
    values = torch.tensor([_quadratic_form(hessian, generator) for _ in range(draws)], dtype=torch.float64)
    return TraceEstimate(float(values.mean()), float(values.std() / draws**0.5))


def _times(hessian: Hessian, vector: np.ndarray) -> np.ndarray:
    return hessian.times(_like(hessian, torch.from_numpy(vector.reshape(-1)))).double().cpu().numpy()


def _quadratic_form(hessian: Hessian, generator: torch.Generator) -> float:
    signs = _like(hessian, 2 * torch.randint(2, (hessian.size,), generator=generator) - 1)
    return float((signs * hessian.times(signs)).double().sum())


def _like(hessian: Hessian, vector: Tensor) -> Tensor:
    return vector.to(hessian.parameters[0].device, hessian.parameters[0].dtype)
