"""LoRA's analyses of subspaces, https://arxiv.org/abs/2106.09685 sections 7.2 and 7.3: similarity, amplification."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.diagnostics.factors import Change, Factors
from harness.diagnostics.intruders import Decomposition


@dataclass(frozen=True)
class Amplification:
    """How much of W0 lies in the directions that a change works in.

    `norm` is ‖ΔW‖_F. The others are ‖Uᵀ·W0·V‖_F for U, V the first r left and right singular directions of ΔW
    (`inside`), of W0 itself (`inside_top`), and random ones (`inside_random`).
    """

    norm: float
    inside: float
    inside_top: float
    inside_random: float

    @property
    def factor(self) -> float:
        """‖ΔW‖_F / ‖Uᵀ·W0·V‖_F; infinite where W0 has nothing in those directions, 0 where nothing changed."""
        return _ratio(self.norm, self.inside)

    @property
    def factor_top(self) -> float:
        """The same with W0's own first directions: the smallest that it can be."""
        return _ratio(self.norm, self.inside_top)

    @property
    def factor_random(self) -> float:
        """The same with random directions: what a change that knows nothing of W0 has."""
        return _ratio(self.norm, self.inside_random)


@torch.no_grad()
def similarity(directions: Tensor, others: Tensor) -> Tensor:
    """(m, n) φ(i, j) = ‖U₁ᵀU₂‖_F² / min(i, j) of the first i and the first j orthonormal columns; 0 to 1.

    directions: (d, m), others: (d, n), most important first. Entry [i - 1, j - 1] is φ(i, j). Raises ValueError for
    spaces of different dimension, or columns that are not orthonormal.
    """
    if directions.shape[0] != others.shape[0]:
        raise ValueError(f"directions of {directions.shape[0]} and of {others.shape[0]} numbers cannot be compared")
    for basis in (directions, others):
        error = basis.double().T @ basis.double() - torch.eye(basis.shape[1], dtype=torch.float64)
        if error.numel() and not float(error.abs().max()) < 1e-3:
            raise ValueError("directions are not orthonormal")
    overlap = (directions.double().T @ others.double()).square().cumsum(0).cumsum(1)
    return overlap / torch.minimum(*_counts(*overlap.shape))


def chance(dimension: int, m: int, n: int) -> Tensor:
    """(m, n) the expected φ(i, j) of independent random subspaces of R^dimension: max(i, j) / dimension."""
    return torch.maximum(*_counts(m, n)).double() / dimension


def right_directions(change: Change, count: int) -> Tensor:
    """(in, count) the first right singular vectors, in float64; fewer where the rank is lower. Of A alone, LoRA's φ."""
    return _directions(change)[2][:, :count]


def left_directions(change: Change, count: int) -> Tensor:
    """(out, count) the first left singular vectors, in float64; fewer where the rank is lower. Of B alone, LoRA's φ."""
    return _directions(change)[0][:, :count]


@torch.no_grad()
def amplification(base: Decomposition, change: Change, rank: int, generator: torch.Generator) -> Amplification:
    """The amplification of a change, scaled as it is applied. The generator draws the random directions.

    A rank above that of the change is that of the change.
    """
    left, spectrum, right = _directions(change)
    left, right = left[:, :rank], right[:, :rank]
    random = [
        torch.linalg.qr(torch.randn(len(side), side.shape[1], generator=generator, dtype=torch.float64)).Q
        for side in (left, right)
    ]
    return Amplification(
        float(torch.linalg.norm(spectrum)),
        _inside(base, left, right),
        float(torch.linalg.norm(base.s[: left.shape[1]])),
        _inside(base, *random),
    )


def _inside(base: Decomposition, left: Tensor, right: Tensor) -> float:
    return float(torch.linalg.norm(((left.T @ base.u) * base.s) @ (base.vt @ right)))


def _directions(change: Change) -> tuple[Tensor, Tensor, Tensor]:
    """U (out, k), the k singular values that are more than rounding, descending, and V (in, k)."""
    if isinstance(change, Factors):
        (q_b, r_b), (q_a, r_a) = torch.linalg.qr(change.b.double()), torch.linalg.qr(change.a.double().T)
        u, s, vt = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
        u, v = q_b @ u, q_a @ vt.T
    else:
        u, s, vt = torch.linalg.svd(change.double(), full_matrices=False)
        v = vt.T
    limit = max(len(u), len(v)) * torch.finfo(s.dtype).eps
    count = int((s > limit * s[:1]).sum())
    return u[:, :count], s[:count], v[:, :count]


def _counts(m: int, n: int) -> tuple[Tensor, Tensor]:
    """i as a column and j as a row."""
    return torch.arange(1, m + 1)[:, None], torch.arange(1, n + 1)[None]


def _ratio(norm: float, inside: float) -> float:
    return norm / inside if inside else (float("inf") if norm else 0.0)
