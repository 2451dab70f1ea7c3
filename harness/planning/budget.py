"""A parameter budget shared out over weights: which rank each gets. Greedy, exact (a knapsack), and one rank for all.

The first r components of a weight have a gain each, falling, and a component costs in + out parameters. No torch.
"""

from collections.abc import Mapping, Sequence
from math import gcd
from typing import TypeVar

import numpy as np

from harness.ledger.errors import SpecError

K = TypeVar("K")
Gains = Mapping[K, Sequence[float]]  # of each component of a weight, the first the largest
MOST_CELLS = 50_000_000  # of the exact table: 100 MB


def parameters(ranks: Mapping[K, int], costs: Mapping[K, int]) -> int:
    """Σ rank·(in + out)."""
    return sum(rank * costs[key] for key, rank in ranks.items())


def captured(gains: Gains[K], ranks: Mapping[K, int]) -> float:
    """Σ gains of the components that these ranks hold."""
    return float(sum(sum(gains[key][:rank]) for key, rank in ranks.items()))


def greedy(gains: Gains[K], costs: Mapping[K, int], budget: int) -> dict[K, int]:
    """Rank 1 for each, then again and again the component with the most gain per parameter that still fits."""
    ranks, left = _least(gains, costs, budget)
    order = [(gain / costs[key], -place, key) for key, values in gains.items() for place, gain in enumerate(values)]
    for _, place, key in sorted(order, key=lambda each: each[:2], reverse=True):
        if -place == ranks[key] and costs[key] <= left:
            ranks[key] += 1
            left -= costs[key]
    return ranks


def exact(gains: Gains[K], costs: Mapping[K, int], budget: int) -> dict[K, int] | None:
    """The ranks that capture the most, of at least 1 each, by dynamic programming over the parameters that are spent.

    None where the table would be too large: costs without a common divisor, and a large budget.
    """
    ranks, left = _least(gains, costs, budget)
    left = min(left, sum(costs[key] * (len(values) - 1) for key, values in gains.items()))  # nothing costs more
    unit = gcd(*costs.values())
    states = left // unit + 1
    if states * len(gains) > MOST_CELLS:
        return None
    best, choices = np.zeros(states), []
    for key, values in gains.items():
        best, chosen = _with(best, np.cumsum([0.0, *values[1:]]), costs[key] // unit)
        choices.append((key, costs[key] // unit, chosen))
    state = int(best.argmax())
    for key, cost, chosen in reversed(choices):
        extra = int(chosen[state])
        ranks[key] += extra
        state -= extra * cost
    return ranks


def uniform(gains: Gains[K], costs: Mapping[K, int], budget: int) -> dict[K, int]:
    """One rank for all, the largest that the budget allows; no weight above its own number of components."""
    _least(gains, costs, budget)
    rank = budget // sum(costs[key] for key in gains)
    return {key: min(rank, len(values)) for key, values in gains.items()}


def _least(gains: Gains[K], costs: Mapping[K, int], budget: int) -> tuple[dict[K, int], int]:
    """Rank 1 for each, and what is left. Raises SpecError when that is more than the budget."""
    ranks = dict.fromkeys(gains, 1)
    if (least := parameters(ranks, costs)) > budget:
        raise SpecError(f"--parameters {budget}: rank 1 of all {len(ranks)} weights takes {least}; allow that many.")
    return ranks, budget - least


def _with(best: np.ndarray, gains: np.ndarray, cost: int) -> tuple[np.ndarray, np.ndarray]:
    """(best gain for each number of units, how many further components of this weight that takes)."""
    values, chosen = best.copy(), np.zeros(len(best), dtype=np.uint16)
    for extra in range(1, len(gains)):
        if extra * cost >= len(best):
            break
        candidate = best[: len(best) - extra * cost] + gains[extra]
        better = candidate > values[extra * cost :]
        values[extra * cost :][better] = candidate[better]
        chosen[extra * cost :][better] = extra
    return values, chosen
