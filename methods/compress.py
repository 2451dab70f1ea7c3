"""A low-rank product at a lower rank, by its truncated singular value decomposition: the algebra of LoRA-Squeeze.

Three backends of https://arxiv.org/abs/2602.10993 (Algorithms 1 and 2, Appendix E). "qr" never forms B·A and is exact;
"exact" and "randomised" form it and are its oracles. Factors are balanced: B' = U·√S and A' = √S·Vᵀ.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["qr", "exact", "randomised"]
OVERSAMPLING = 10  # k_o of Algorithm 1
POWER_ITERATIONS = 2  # k_q of Algorithm 1


@dataclass(frozen=True)
class Compressed:
    """B (out, rank) and A (rank, in) of the best product of that rank, and the singular values of B·A before it.

    `spectrum` is descending. It holds all that B·A can have for "qr" and "exact", and those sampled for "randomised".
    """

    b: Tensor
    a: Tensor
    spectrum: Tensor

    @property
    def variance_kept(self) -> float:
        """Σ s² of the kept singular values over Σ s² of all; 1 where B·A is zero."""
        return variance_kept(self.spectrum, self.a.shape[0])


def compress(
    b: Tensor, a: Tensor, rank: int, *, backend: Backend = "qr", generator: torch.Generator | None = None
) -> Compressed:
    """The closest product of rank `rank` to B (out, r) times A (r, in), in the dtype of `b`.

    Half precision is computed in float32. `generator` draws the test matrix of "randomised". A rank that is not below
    r keeps the product. Raises ValueError for a rank below one.
    """
    if rank < 1:
        raise ValueError(f"rank {rank} is not at least 1")
    wide_b, wide_a = (factor if factor.dtype == torch.float64 else factor.float() for factor in (b, a))
    decomposed = {"qr": _qr_core, "exact": _exact, "randomised": _randomised}[backend]
    u, s, vt = decomposed(wide_b, wide_a, rank, generator)
    root = s[:rank].sqrt()
    return Compressed((u[:, :rank] * root).to(b.dtype), (root[:, None] * vt[:rank]).to(a.dtype), s)


def variance_kept(spectrum: Tensor, rank: int) -> float:
    """Σ s² of the first `rank` singular values over Σ s² of all; 1 where all are zero."""
    energy = spectrum.double().square()
    total = float(energy.sum())
    return float(energy[:rank].sum()) / total if total > 0 else 1.0


def rank_for(spectrum: Tensor, keep: float) -> int:
    """The smallest rank, at least 1, that keeps a share `keep` of Σ s². Raises ValueError outside (0, 1]."""
    if not 0 < keep <= 1:
        raise ValueError(f"a share to keep of {keep} is not above 0 and at most 1")
    energy = spectrum.double().square().cumsum(0)
    return max(1, int((energy < keep * energy[-1]).sum()) + 1) if float(energy[-1]) > 0 else 1


def _qr_core(b: Tensor, a: Tensor, rank: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """B = Q_B·R_B, Aᵀ = Q_A·R_A: the singular values of B·A are those of the small core R_B·R_Aᵀ."""
    q_b, r_b = torch.linalg.qr(b)
    q_a, r_a = torch.linalg.qr(a.T)
    u, s, vt = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return q_b @ u[:, :rank], s, vt[:rank] @ q_a.T


def _exact(b: Tensor, a: Tensor, rank: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vt = torch.linalg.svd(b @ a, full_matrices=False)
    possible = min(len(s), a.shape[0])  # the product has no more
    return u[:, :possible], s[:possible], vt[:possible]


def _randomised(b: Tensor, a: Tensor, rank: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1: a range finder with power iterations, then the decomposition of a small matrix."""
    delta = b @ a
    columns = min(rank + OVERSAMPLING, *delta.shape)
    test = torch.randn(delta.shape[1], columns, generator=generator, dtype=delta.dtype).to(delta.device)
    sample = delta @ test
    for _ in range(POWER_ITERATIONS):
        sample = delta @ torch.linalg.qr(delta.T @ torch.linalg.qr(sample).Q).Q
    basis = torch.linalg.qr(sample).Q
    u, s, vt = torch.linalg.svd(basis.T @ delta, full_matrices=False)
    return basis @ u, s, vt
