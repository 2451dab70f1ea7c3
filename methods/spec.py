"""What a method is, as data: where it acts, how a weight may move, how that changes in time, at which rates.

Standard library only, so that planning a sweep and reading a record need no torch. conf/method/*.yaml holds the values.
Notation of the study (§1.1): W is (out, in), ΔW = s·B·A with A (rank, in), B (out, rank) and s = alpha / rank.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from methods.families import ScheduleSpec as ScheduleSpec
from methods.families import SiteUpdateSpec as SiteUpdateSpec
from methods.families import UpdateSpec as UpdateSpec
from methods.kinds import Kind as Kind
from methods.rank_spec import Gated, Grow, Nested, Reassign, Select, Sinc, Sine, Weighted
from methods.squeeze_spec import InSqueeze as InSqueeze
from methods.squeeze_spec import PostSqueeze as PostSqueeze

# Known as soon as this file is.
RANK_KINDS = (Gated, Grow, Nested, Reassign, Select, Sinc, Sine, Weighted)
Init = Literal["zero", "kaiming_uniform", "normal", "orthonormal"]


@dataclass(frozen=True)
class Full(UpdateSpec):
    """Every weight of the model is trained."""

    kind: Literal["full"]


@dataclass(frozen=True)
class HeadOnly(UpdateSpec):
    """The head alone is trained."""

    kind: Literal["head"]


@dataclass(frozen=True)
class Biases(UpdateSpec):
    """The biases of the model, and the head."""

    kind: Literal["biases"]


@dataclass(frozen=True)
class AdapterLayer(UpdateSpec):
    """A bottleneck of `size` beside the model's modules: methods/adapter_layers.py says where, by `form`."""

    kind: Literal["adapter_layer"]
    size: int = field(metadata={"min": 1})
    activation: Literal["relu", "gelu"]
    form: Literal["serial", "parallel"]
    scale: float = field(metadata={"above": 0})


@dataclass(frozen=True)
class LowRank(SiteUpdateSpec):
    """ΔW = s·B·A; one factor starts at zero, so that the model starts where it was. An untrained factor is frozen."""

    kind: Literal["low_rank"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    train_a: bool
    train_b: bool
    init_a: Init
    init_b: Init


@dataclass(frozen=True)
class Orthogonal(SiteUpdateSpec):
    """LoRA of another task than that of the run it starts from, whose A' stays: orthogonal·‖A·A'ᵀ‖_F² is added to the
    loss for every weight (O-LoRA, arXiv:2310.14152, §3.2). A source that started so itself hands on all of its A'.
    """

    kind: Literal["orthogonal"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    orthogonal: float = field(metadata={"min": 0})
    starts_from_run: ClassVar = True
    beside_source: ClassVar = True


@dataclass(frozen=True)
class Columns(SiteUpdateSpec):
    """W[:, idx] = W0[:, idx] + s·B (start: zero), or W[:, idx] = s·P with P from W (start: weight); other columns stay.

    selector, at link j of a chain (0 without one): first = columns j·rank + i modulo in; random = any `rank` distinct
    columns; window = neighbours from a random offset; shuffled = aligned windows without replacement. stream: whose
    draws they are; methods of one stream have the same columns at the same seed.
    """

    kind: Literal["columns"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    selector: Literal["first", "random", "window", "shuffled"]
    start: Literal["zero", "weight"]
    stream: str | None = field(default=None, metadata={"neutral": None})


@dataclass(frozen=True)
class BaSparse(SiteUpdateSpec):
    """ΔW = s·(M ⊙ BA): an entry is kept when |BA| is among the top `keep` share of its row and of its column.

    mask: training = M acts all the time and is taken anew every `every` optimizer steps; final = trained as LoRA, and
    every evaluation, merge and export is of the masked update. evaluate: sparse = through a COO matrix.
    """

    kind: Literal["ba_sparse"]
    rank: int = field(metadata={"min": 1})
    alpha: float = field(metadata={"above": 0})
    init_a: Init
    keep: float = field(metadata={"above": 0, "max": 1})
    every: int = field(metadata={"min": 1})
    mask: Literal["training", "final"]
    evaluate: Literal["dense", "sparse"]


@dataclass(frozen=True)
class Peft(UpdateSpec):
    """Any method of the `peft` library: `type` is its PeftType (or DORA, RSLORA), `options` its config's arguments."""

    kind: Literal["peft"]
    type: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Constant(ScheduleSpec):
    """The update is the same from the first step to the last."""

    kind: Literal["constant"]


@dataclass(frozen=True)
class Chain(ScheduleSpec):
    """The update is merged into W and starts anew: `links` of equal length, or one every so many epochs or steps.

    Exactly one of the three is given. There is no link end at the last step (study, §1.3).
    """

    kind: Literal["chain"]
    links: int | None = field(metadata={"min": 1})
    every_epochs: float | None = field(metadata={"above": 0})
    every_steps: int | None = field(metadata={"min": 1})


@dataclass(frozen=True)
class Rates:
    """Which learning rate of the recipe a method takes, and the ratios within it."""

    group: Literal["full", "head", "adapter"]
    b_over_a: float = field(metadata={"above": 0})  # LoRA+: learning rate of B over that of A
    gate: float | None = field(default=None, metadata={"neutral": None, "above": 0})  # constant; null: as A's


@dataclass(frozen=True)
class MethodSpec:
    """One method, resolved. `about` (label, source, formula) is for people and never enters a run's id."""

    name: str
    targets: tuple[str, ...]
    update: UpdateSpec
    schedule: ScheduleSpec
    rates: Rates
    about: Mapping[str, Any] = field(metadata={"science": False})
    ranks: Mapping[str, int] = field(default_factory=dict, metadata={"neutral": {}, "min": 1})  # see `methods.ranks`
    code: str | None = field(default=None, metadata={"neutral": None})  # of a part in a single file: its digest
