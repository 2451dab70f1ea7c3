"""When things happen in a training: pure functions of the step, so restarts and all methods share one clockwork."""

import math
from dataclasses import dataclass, replace

from harness.ledger.spec import RecipeSpec


@dataclass(frozen=True)
class TrainSchedule:
    """The optimizer steps of one run."""

    total: int
    steps_per_epoch: int
    warmup: int
    evaluations: frozenset[int]  # steps after which the validation split is evaluated; `total` is one of them
    schedule: str
    final_ratio: float
    anew_at: int = 0  # the step at which the rates begin anew; both parts have the same share of warm-up

    def rate(self, step: int) -> float:
        """What every learning rate is multiplied by in step `step` (from 0); 1.0 is the recipe's own value."""
        if self.anew_at:
            first, end = (self.anew_at, self.total) if step >= self.anew_at else (0, self.anew_at)
            warmup = round(self.warmup * (end - first) / self.total)
            return replace(self, total=end - first, warmup=warmup, anew_at=0).rate(step - first)
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, self.total - self.warmup)
        fall = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.final_ratio + (1 - self.final_ratio) * fall


def train_schedule(recipe: RecipeSpec, steps_per_epoch: int) -> TrainSchedule:
    """The whole training of a recipe over a dataset of that size."""
    total = max(1, round(recipe.epochs * steps_per_epoch))
    total = min(total, recipe.max_steps) if recipe.max_steps is not None else total
    spaced = frozenset(max(1, round(j * total / recipe.evaluations)) for j in range(1, recipe.evaluations + 1))
    warmup = round(recipe.warmup_ratio * total) if recipe.warmup_steps is None else recipe.warmup_steps
    return TrainSchedule(total, steps_per_epoch, warmup, spaced | {total}, recipe.schedule, recipe.final_lr_ratio)
