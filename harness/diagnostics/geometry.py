"""The geometry of a change of a weight: its spectrum, ranks, columns and size, from its factors where it has them.

B·A has the singular values of the small core R_B·R_Aᵀ (B = Q_B·R_B, Aᵀ = Q_A·R_A): the dense product is not formed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.diagnostics.factors import Change, Factors
from methods.update.spectrum import NEGLIGIBLE


@dataclass(frozen=True)
class Geometry:
    """Of ΔW (out, in). All 0 and no spectrum where ΔW is zero.

    `spectrum` is descending and ends where singular values are nothing but rounding. `stable_rank` is ‖ΔW‖_F² / σ_max²,
    `numerical_rank` the count of σ above 1e-4·σ_max, `columns` the count of columns that are not zero, `relative_norm`
    ‖ΔW‖_F / ‖W0‖_F.
    """

    spectrum: tuple[float, ...]
    stable_rank: float
    numerical_rank: int
    columns: int
    norm: float
    relative_norm: float


@torch.no_grad()
def geometry(weight: Tensor, change: Change) -> Geometry:
    """The geometry of a change of `weight`, in float64. Raises ValueError where the weight is zero."""
    size = float(torch.linalg.norm(weight.double()))
    if not size:
        raise ValueError("the pretrained weight is zero; nothing can be said relative to it")
    change = change.double()
    spectrum = singular_values(change)
    norm, columns = float(torch.linalg.norm(spectrum)), int(column_norms(change).ne(0).sum())
    if not norm:
        return Geometry((), 0.0, 0, columns, 0.0, 0.0)
    shares = spectrum / spectrum[0]
    limit = max(weight.shape) * torch.finfo(spectrum.dtype).eps
    kept = tuple(spectrum[shares > limit].tolist())
    stable, numerical = float(shares.square().sum()), int((shares > NEGLIGIBLE).sum())
    return Geometry(kept, stable, numerical, columns, norm, norm / size)


def singular_values(change: Change) -> Tensor:
    """The singular values that the change can have, descending: min(out, in), of factors at most r."""
    if not isinstance(change, Factors):
        return torch.linalg.svdvals(change)
    left, right = torch.linalg.qr(change.b, mode="r").R, torch.linalg.qr(change.a.T, mode="r").R
    return torch.linalg.svdvals(left @ right.T)


def column_norms(change: Change) -> Tensor:
    """(in,) the Euclidean norm of each column; exactly 0 for a column that A leaves alone."""
    if isinstance(change, Factors):
        return torch.linalg.norm(torch.linalg.qr(change.b, mode="r").R @ change.a, dim=0)
    return torch.linalg.norm(change, dim=0)
