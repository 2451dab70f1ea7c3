"""Intruder dimensions: singular vectors of a tuned weight that no singular vector of the pretrained one resembles.

Definition of https://arxiv.org/abs/2410.21228: a left singular vector y of W = W0 + ΔW intrudes at ε where
|cos(y, x)| < ε for every left singular vector x of W0. W0 is decomposed once for all its changes. In the basis of its
singular vectors W·Wᵀ is diagonal plus ΔW's part, its eigenvectors are the y, and their entries are the cosines: no
decomposition of W, and no product of two bases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from harness.diagnostics.factors import Change, Factors, dense

THRESHOLDS = tuple(step / 20 for step in range(21))
SMALLEST_GAP = 2e-8  # between squared singular values, over the largest: below, an eigenvector may be wrong by 1e-7
ROUNDING = 1e-6  # a vector that nothing has turned has a cosine of 1 but for it
LANCZOS = 16  # Lanczos' method pays where at most one vector of so many is asked for


@dataclass(frozen=True, eq=False)
class Decomposition:
    """W0 = U·diag(s)·Vᵀ: u (out, n), s (n,) descending, vt (n, in), n = min(out, in); float64."""

    u: Tensor
    s: Tensor
    vt: Tensor

    @property
    def t(self) -> "Decomposition":
        """That of W0ᵀ."""
        return Decomposition(self.vt.T, self.s, self.u.T)


def decompose(weight: Tensor) -> Decomposition:
    """The thin singular value decomposition of a pretrained weight (out, in), in float64."""
    return Decomposition(*torch.linalg.svd(weight.double(), full_matrices=False))


def intruders(cosines: Tensor, thresholds: Sequence[float] = THRESHOLDS) -> list[int]:
    """How many of the vectors intrude at each threshold: those whose cosine is below it by more than rounding."""
    return [int((cosines < threshold - ROUNDING).sum()) for threshold in thresholds]


@torch.no_grad()
def largest_cosines(base: Decomposition, change: Change, most: int | None = None) -> Tensor:
    """(n,) max over x of |cos(y, x)| for each y, or for the `most` of largest singular value, which come first.

    float64. x runs over the min(out, in) left singular vectors of W0. Where two singular values of W are so close that
    squares blur their vectors, W is decomposed as it stands.
    """
    change = change.double()
    is_tall = base.u.shape[0] > base.vt.shape[1]
    wide, wide_change = (base.t, _transposed(change)) if is_tall else (base, change)
    pairs = None
    if most is not None and isinstance(wide_change, Factors) and LANCZOS * most <= len(base.s):
        pairs = _leading(wide, wide_change, most + 1)  # one more, so that the last one's gap is known
    squares, vectors = pairs or _eigenpairs(_gram(wide, wide_change), most)
    if _is_blurred(squares, is_tall):
        return _by_plain_svd(base, change)[:most]
    if is_tall:
        vectors = _left_of_right(base, change, vectors) / squares.sqrt()
    return vectors.abs().amax(0).flip(0)[:most]


def _gram(wide: Decomposition, change: Change) -> Tensor:
    """Uᵀ·W·Wᵀ·U."""
    if isinstance(change, Factors):
        left, right = _update(wide, change)
        part = left @ right
        return torch.diag(wide.s.square()) + part + part.T
    rows = wide.s[:, None] * wide.vt + wide.u.T @ change
    return rows @ rows.T


def _eigenpairs(gram: Tensor, most: int | None) -> tuple[Tensor, Tensor]:
    """All, or the largest and one more; ascending. LAPACK by scipy: faster here than PyTorch's, and it has a subset."""
    size = len(gram)
    if most is None or most >= size // 2:
        values, vectors = eigh(gram.numpy(), driver="evd")
    else:
        values, vectors = eigh(gram.numpy(), driver="evr", subset_by_index=[size - most - 1, size - 1])
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _update(wide: Decomposition, change: Factors) -> tuple[Tensor, Tensor]:
    """L (n, r) and R (r, n) such that Uᵀ·W·Wᵀ·U = diag(s²) + L·R + (L·R)ᵀ."""
    left = wide.u.T @ change.b
    return left, (change.a @ wide.vt.T) * wide.s + (change.a @ change.a.T / 2) @ left.T


def _leading(wide: Decomposition, change: Factors, count: int) -> tuple[Tensor, Tensor] | None:
    """The largest eigenvalues, ascending, and their vectors, by Lanczos' method; None where it does not converge."""
    left, right = (factor.numpy() for factor in _update(wide, change))
    squares, size = wide.s.square().numpy(), len(wide.s)

    def product(vector: np.ndarray) -> np.ndarray:
        x = vector.reshape(-1)
        return squares * x + left @ (right @ x) + right.T @ (left.T @ x)

    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    operator = cast(Any, LinearOperator)((size, size), matvec=product, dtype=start.dtype)
    try:
        values, vectors = eigsh(operator, count, which="LA", v0=start)
    except ArpackNoConvergence:
        return None
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _is_blurred(squares: Tensor, is_tall: bool) -> bool:
    """squares: ascending. Left vectors made of right ones lose more, the smaller their singular value is."""
    if float(squares[0]) <= 0:
        return True
    share = float((squares[0] / squares[-1]).sqrt()) if is_tall else 1.0
    gap = float(squares.diff().min()) if len(squares) > 1 else float(squares[-1])
    return gap * share < SMALLEST_GAP * float(squares[-1])


def _left_of_right(base: Decomposition, change: Change, vectors: Tensor) -> Tensor:
    """Uᵀ·W·V·vectors: the left vectors in the basis U, each times its singular value."""
    if isinstance(change, Factors):
        part = (base.u.T @ change.b) @ ((change.a @ base.vt.T) @ vectors)
    else:
        part = (base.u.T @ change) @ (base.vt.T @ vectors)
    return base.s[:, None] * vectors + part


def _by_plain_svd(base: Decomposition, change: Change) -> Tensor:
    vectors = torch.linalg.svd((base.u * base.s) @ base.vt + dense(change), full_matrices=False).U
    return (base.u.T @ vectors).abs().amax(0)


def _transposed(change: Change) -> Change:
    return change.t if isinstance(change, Factors) else change.T
