"""What share of a spectrum its first singular values hold, and the rank that holds a share of it.

Two shares are told apart: of Σ s, which a widely copied recipe calls energy, and of Σ s², which is what the closest
matrix of that rank keeps of ‖W‖_F² (Eckart and Young). Σ s asks for the larger rank.
"""

import torch
from torch import Tensor


def share_held(spectrum: Tensor, power: int) -> Tensor:
    """(n,) Σ_{i≤k} s_i^power / Σ s_i^power for k = 1 … n, float64; ones where all are zero. Descending spectrum."""
    energy = spectrum.double().pow(power).cumsum(0)
    return energy / energy[-1] if float(energy[-1]) > 0 else torch.ones_like(energy)


def energy_rank(spectrum: Tensor, share: float, power: int) -> int:
    """The smallest k >= 1 whose share of Σ s^power is at least `share`. Raises ValueError outside (0, 1]."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share} is not above 0 and at most 1")
    reached = share_held(spectrum, power) >= share * (1 - 1e-12)  # the last one is 1 but for rounding
    return int(reached.nonzero()[0]) + 1
