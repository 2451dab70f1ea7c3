"""Kinds of updates and schedules whose rank is learned, sampled, grown or cut. Standard library only.

Notation of `methods.spec`: ΔW = s·B·A with s = alpha / rank. B starts at zero and A at the peft library's first values.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from methods.families import ScheduleSpec, SiteUpdateSpec
from methods.training import Training


@dataclass(frozen=True)
class Sine(SiteUpdateSpec):
    """ΔW = s·sin(omega·B·A) / √in, by entry (Sine-LoRA, arXiv:2403.19243)."""

    kind: Literal["sine"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    omega: float = field(metadata={"above": 0})


@dataclass(frozen=True)
class Sinc(SiteUpdateSpec):
    """ΔW = s·(φ(B·A) - φ(0)) by entry, φ(z) = Σ_k h_k·sin(u_k) / u_k, u_k = ω_k·(z - c_k): our reading of LR-LoRA.

    h and ω of `knots` functions are learned for each weight; the centres c lie evenly on [-span, span] and stay.
    """

    kind: Literal["sinc"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    knots: int = field(metadata={"min": 2})
    span: float = field(metadata={"above": 0})


@dataclass(frozen=True)
class Nested(SiteUpdateSpec):
    """The first b of `rank` components, b drawn anew for every step; used at any rank (DyLoRA, arXiv:2210.07558).

    freeze: of the b components, only the last is trained in that step.
    """

    kind: Literal["nested"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    freeze: bool


@dataclass(frozen=True)
class Gated(SiteUpdateSpec):
    """ΔW = s·B·diag(g)·A with a learned gate g for each component, which a penalty drives to exact zeros.

    l1: times the mean of |g| over all gates, added to the loss. shrink: every gate moves so far towards zero after each
    optimizer step, and stops there (the proximal operator of the same penalty).
    """

    kind: Literal["gated"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    init_gate: Literal["normal", "one"]
    l1: float = field(metadata={"min": 0})
    shrink: float = field(metadata={"min": 0})


@dataclass(frozen=True)
class Weighted(SiteUpdateSpec):
    """ΔW = s·B·diag(softmax(w))·A with selection variables w, one for each component (AutoLoRA, arXiv:2403.09113).

    betas: of Adam for w, whose rate is `rates.gate` all the time.
    """

    kind: Literal["weighted"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    betas: tuple[float, ...] = field(metadata={"items": (2, 2), "min": 0, "below": 1})


SEARCH_PASSES = 4  # of a search step: the inner loss, the outer loss a step ahead, and two sides of a difference


@dataclass(frozen=True)
class Select(ScheduleSpec):
    """Selection variables are learned on rows held out of train, then all is trained anew at the ranks they select.

    search: share of the training's steps. held_out: share of the training rows whose loss moves the selection
    variables in the search; the factors and the head are trained on the rest there, and on all rows afterwards.
    """

    kind: Literal["select"]
    search: float = field(metadata={"above": 0, "below": 1})
    held_out: float = field(metadata={"above": 0, "below": 1})
    acts_on: ClassVar = ("weighted",)
    to_its_end: ClassVar = True
    begins_anew: ClassVar = True

    def search_steps(self, total: int) -> int:
        """Optimizer steps of the search, of `total` in all."""
        return round(self.search * total)

    def why_not(self, training: Training) -> str | None:
        if 0 < self.search_steps(training.total) < training.total:
            return None
        return f"a search and a training at its ranks need a step each; the run has {training.total} in all."


@dataclass(frozen=True)
class Grow(ScheduleSpec):
    """The rank rises from that of the update to `max_rank`; what was learned stays, and new components add nothing yet.

    With r the update's rank, t the steps so far: linear = ⌊r + min(t / (10·every), 1)·(max_rank - r)⌋; step = r·2^⌊t /
    every⌋; adaptive = `add` more after every `every` steps in which validation found nothing better.
    """

    kind: Literal["grow"]
    shape: Literal["linear", "step", "adaptive"]
    max_rank: int = field(metadata={"min": 1})
    every: int = field(metadata={"min": 1})
    add: int = field(metadata={"min": 1})
    acts_on: ClassVar = ("low_rank", "gated")

    @property
    def up_to(self) -> int:
        return self.max_rank

    def why_not(self, training: Training) -> str | None:
        if self.shape == "linear" or self.every < training.total:
            return None
        return f"nothing grows within {training.total} steps; lower schedule.every, which is {self.every}."


@dataclass(frozen=True)
class Reassign(ScheduleSpec):
    """Components whose gate is gone are cut, and as many are given to weights that need all of theirs (L1RA).

    rounds: parts of the training, at whose ends this is done (arXiv:2509.04884); the total of all ranks stays.
    """

    kind: Literal["reassign"]
    rounds: int = field(metadata={"min": 2})
    acts_on: ClassVar = ("gated",)

    def why_not(self, training: Training) -> str | None:
        if self.rounds <= training.total:
            return None
        return f"{self.rounds} rounds need as many optimizer steps; the run has {training.total}."
