"""What rank a matrix has, as a number that changes smoothly and as a count."""

import torch
from torch import Tensor

NEGLIGIBLE = 1e-4  # of the largest singular value


@torch.no_grad()
def ranks_of(matrix: Tensor) -> dict[str, float | int]:
    """stable_rank: ‖M‖_F² / σ_max². numerical_rank: how many σ are above 1e-4·σ_max. Both 0 for a zero matrix."""
    values = torch.linalg.svdvals(matrix if matrix.dtype == torch.float64 else matrix.float())
    if not (largest := float(values[0])):
        return {"stable_rank": 0.0, "numerical_rank": 0}
    return {
        "stable_rank": float((values / largest).square().sum()),
        "numerical_rank": int((values > NEGLIGIBLE * largest).sum()),
    }
