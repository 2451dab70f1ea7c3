"""What may be searched: which ranks each group of weights may have, and what they cost. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from harness.ledger.errors import SpecError

Ranks = Mapping[str, int]  # by key of `method.ranks`


@dataclass(frozen=True)
class Space:
    """costs: parameters of one rank of each key, Σ (in + out) over its weights. ranks: allowed ones, rising."""

    costs: Mapping[str, int]
    ranks: tuple[int, ...]
    budget: int | None  # parameters of all adapters together

    def __post_init__(self) -> None:
        least = self.parameters(dict.fromkeys(self.costs, self.ranks[0]))
        if self.budget is not None and least > self.budget:
            raise SpecError(
                f"search.parameters={self.budget}: rank {self.ranks[0]} everywhere takes {least}; allow that many, "
                "lower ranks or fewer targets."
            )

    def parameters(self, ranks: Ranks) -> int:
        """Σ rank·(in + out): exact for the low-rank update."""
        return sum(rank * self.costs[key] for key, rank in ranks.items())

    def drawn(self, rng: Random) -> dict[str, int]:
        """Allowed ranks, each as likely as the others."""
        return {key: rng.choice(self.ranks) for key in self.costs}

    def within(self, ranks: Ranks) -> dict[str, int]:
        """`ranks` lowered to the budget, step by step of the allowed ranks: always what takes the most parameters."""
        fitted = dict(ranks)
        while self.budget is not None and self.parameters(fitted) > self.budget:
            able = [key for key, rank in fitted.items() if rank > self.ranks[0]]
            key = max(able, key=lambda key: (fitted[key] * self.costs[key], key))
            fitted[key] = max(rank for rank in self.ranks if rank < fitted[key])
        return fitted


@dataclass(frozen=True)
class Trial:
    """One run of a study. score: of validation, the larger the better; None while it runs, and when it failed."""

    id: str
    ranks: Ranks
    steps: int | None  # recipe.max_steps
    state: Literal["open", "done", "failed"]
    score: float | None = None
    train_seconds: float = 0.0
    wall_seconds: float = 0.0
