"""A loss on planes through weights: random filter-normalised ones (Li et al. 2018), and the plane of a path.

https://arxiv.org/abs/1712.09913: each row of a weight matrix is a filter, and a random direction has its norm.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Direction = Sequence[Tensor]  # of the shapes of the weights


@dataclass(frozen=True, eq=False)
class PathPlane:
    """The principal directions of a path about its first point, at most two, each of norm 1 over all weights.

    `points`: a row of coordinates for each point of the path. `explained`: shares of the squared distances from the
    first point, of each direction.
    """

    axes: tuple[Direction, ...]
    points: tuple[tuple[float, ...], ...]
    explained: tuple[float, ...]


def filter_normalised(weights: Sequence[Tensor], generator: torch.Generator) -> Direction:
    """A Gaussian direction, d ← d · ‖w‖ / (‖d‖ + 1e-10) for each row. The generator draws on the CPU."""
    return [_like_rows(torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w), w) for w in weights]


@torch.no_grad()
def losses_at(
    loss: Callable[[], float], weights: Sequence[Tensor], axes: Sequence[Direction], points: Sequence[Sequence[float]]
) -> list[float]:
    """The loss at weights + Σ point[k] · axes[k], for each point. At the end the weights are as before."""
    centre = [weight.clone() for weight in weights]
    try:
        return [_loss_at(loss, weights, centre, axes, point) for point in points]
    finally:
        for weight, value in zip(weights, centre, strict=True):
            weight.copy_(value)


def rings(radii: Sequence[float], angles: int) -> list[tuple[float, float]]:
    """Points of a plane, ring after ring, at so many equal angles from 0 on."""
    turns = [2 * math.pi * step / angles for step in range(angles)]
    return [(radius * math.cos(turn), radius * math.sin(turn)) for radius in radii for turn in turns]


def path_plane(path: Sequence[Direction]) -> PathPlane:
    """Of two points or more, about the first; no axis where all of them are one. Principal components of the
    differences by their Gram matrix, in float64; directions below 1e-6 of the largest are rounding.
    """
    flat = [torch.cat([part.double().flatten() for part in point]) for point in path]
    moves = torch.stack([point - flat[0] for point in flat])
    squares, vectors = torch.linalg.eigh(moves @ moves.T)
    kept = [k for k in (-1, -2) if float(squares[k]) > 1e-12 * float(squares[-1]) > 0]
    axes = [vectors[:, k] @ moves / squares[k].sqrt() for k in kept]
    coordinates = torch.stack([moves @ axis for axis in axes], 1).tolist() if axes else [[] for _ in path]
    explained = tuple(float(squares[k] / squares.clamp(min=0).sum()) for k in kept)
    return PathPlane(
        tuple(_split(axis, path[0]) for axis in axes), tuple(tuple(point) for point in coordinates), explained
    )


def steps_around(values: Sequence[float], count: int) -> list[float]:
    """So many equal steps over the range of values and a quarter of it to either side."""
    low, high = min(values), max(values)
    margin = (high - low) / 4
    return torch.linspace(low - margin, high + margin, count, dtype=torch.float64).tolist()


def _like_rows(direction: Tensor, weight: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm
    return direction * (norm(weight, dim=1, keepdim=True) / (norm(direction, dim=1, keepdim=True) + 1e-10))


def _loss_at(
    loss: Callable[[], float],
    weights: Sequence[Tensor],
    centre: Direction,
    axes: Sequence[Direction],
    point: Sequence[float],
) -> float:
    for place, weight in enumerate(weights):
        steps = [distance * axis[place].to(weight) for distance, axis in zip(point, axes, strict=True)]
        weight.copy_(sum(steps, centre[place]))
    return loss()


def _split(flat: Tensor, like: Direction) -> Direction:
    parts = flat.split([part.numel() for part in like])
    return [part.view(shape.shape) for part, shape in zip(parts, like, strict=True)]
