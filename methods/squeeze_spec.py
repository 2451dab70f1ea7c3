"""Kinds of schedules of LoRA-Squeeze (https://arxiv.org/abs/2602.10993). Standard library only.

alpha / rank of the update is the scale at every rank.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from methods.families import ScheduleSpec
from methods.training import Training

Core = Literal["qr", "randomised", "exact"]  # `methods.compress`
Moments = Literal["renewed", "projected"]


@dataclass(frozen=True)
class InSqueeze(ScheduleSpec):
    """In-Squeeze: one training in stages of falling rank, the update compressed between them.

    ranks: of the stages, the update's own first; null: halved down to 1. minimum: steps that each stage has before the
    rest is shared in proportion to the ranks. moments: what the optimizer keeps of the factors at a change of rank.
    """

    kind: Literal["in_squeeze"]
    ranks: tuple[int, ...] | None = field(metadata={"min": 1})
    minimum: int = field(metadata={"min": 0})
    core: Core
    moments: Moments
    acts_on: ClassVar = ("low_rank",)
    to_its_end: ClassVar = True


@dataclass(frozen=True)
class PostSqueeze(ScheduleSpec):
    """The trained update of a source run, compressed to `rank` before the first step.

    trains: whether steps follow (Cont-Squeeze) or none (Post-Squeeze).
    """

    kind: Literal["post_squeeze"]
    rank: int = field(metadata={"min": 1})
    core: Core
    trains: bool
    acts_on: ClassVar = ("low_rank",)
    starts_from_run: ClassVar = True
    of_source: ClassVar = True

    def why_not(self, training: Training) -> str | None:
        if self.trains and not training.total:
            return "it trains on after it has compressed; give recipe.max_steps, and source.recipe.max_steps."
        if training.total and not self.trains:
            return "it trains no step; give recipe.max_steps=0, and source.recipe.max_steps for its source run."
        return None
