"""What a method is, as data: where it acts, how a weight may move, how that changes in time, at which rates.

Standard library only, so that planning a sweep and reading a record need no torch. `conf/method/*.yaml` holds the values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Full:
    """Every weight of the model is trained."""

    kind: Literal["full"]


@dataclass(frozen=True)
class Head:
    """The head alone is trained."""

    kind: Literal["head"]


@dataclass(frozen=True)
class LowRank:
    """ΔW = s·B·A with A (rank, in) and B (out, rank), s = alpha / rank."""

    kind: Literal["low_rank"]
    rank: int
    alpha: float
    train_a: bool
    train_b: bool
    init_a: Literal["kaiming_uniform", "normal", "orthonormal"]


@dataclass(frozen=True)
class Columns:
    """ΔW[:, idx] = s·B with B (out, rank); every other column of W stays as it was."""

    kind: Literal["columns"]
    rank: int
    alpha: float
    selector: Literal["first", "random"]


@dataclass(frozen=True)
class Constant:
    """The update is the same from the first step to the last."""

    kind: Literal["constant"]


Update = Full | Head | LowRank | Columns
Schedule = Constant


@dataclass(frozen=True)
class Rates:
    """Which learning rate of the recipe a method takes, and the ratios within it."""

    group: Literal["full", "head", "adapter"]
    b_over_a: float  # LoRA+: learning rate of B over that of A


@dataclass(frozen=True)
class MethodSpec:
    """One method, resolved. `about` (label, source, formula) is for people and never enters a run's id."""

    name: str
    targets: tuple[str, ...]
    update: Update
    schedule: Schedule
    rates: Rates
    about: Mapping[str, Any] = field(metadata={"science": False})
