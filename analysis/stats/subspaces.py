"""How alike two subspaces are: φ(i, j) of LoRA, https://arxiv.org/abs/2106.09685 section 7.2, and its chance level."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def similarity(directions: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """(m, n) φ(i, j) = ‖U₁U₂ᵀ‖_F² / min(i, j) of the first i rows of one and the first j of the other; 0 to 1.

    directions: (m, d), others: (n, d), orthonormal rows, most important first. Entry [i - 1, j - 1] is φ(i, j).
    """
    overlap = np.square(np.asarray(directions, float) @ np.asarray(others, float).T).cumsum(0).cumsum(1)
    return overlap / np.minimum(*_counts(*overlap.shape))


def chance(dimension: int, m: int, n: int) -> NDArray[np.float64]:
    """(m, n) the expected φ(i, j) of independent random subspaces of R^dimension: i·j/d shared, over min(i, j)."""
    return np.maximum(*_counts(m, n)) / dimension


def _counts(m: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.arange(1, m + 1)[:, None], np.arange(1, n + 1)[None]
