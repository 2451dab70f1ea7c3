"""What a run is, as frozen data: the resolved scientific config. Nothing here says where or by whom it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.model_spec import ModelSpec
from methods.spec import MethodSpec

SPEC_VERSION = 1  # enters every id: a bump makes all of them new, so that results of different meaning never mix


@dataclass(frozen=True)
class RecipeSpec:
    """How a run is trained and selected. Lengths are in optimizer steps unless named otherwise."""

    name: str
    epochs: float = field(metadata={"above": 0})
    max_steps: int | None = field(metadata={"min": 0})  # stops earlier than `epochs` would; 0: nothing is trained
    batch_size: int = field(
        metadata={"min": 1}
    )  # examples per optimizer step and micro-batch; times `accumulate` per optimizer step
    accumulate: int = field(metadata={"min": 1})
    eval_batch_size: int = field(metadata={"min": 1})
    lr: float = field(
        metadata={"above": 0}
    )  # of the method's own rate group (see conf/recipe: lr may be one number or one per group)
    head_lr: float = field(metadata={"above": 0})  # one head rule for every method
    schedule: Literal["linear", "cosine", "constant"]
    final_lr_ratio: float = field(metadata={"min": 0, "max": 1})
    warmup_ratio: float = field(metadata={"min": 0, "max": 1})
    weight_decay: float = field(
        metadata={"min": 0}
    )  # of weights trained whole; adapters are never decayed (study, 1.1)
    betas: tuple[float, ...] = field(metadata={"items": (2, 2), "min": 0, "below": 1})
    eps: float = field(metadata={"above": 0})
    clip_norm: float | None = field(metadata={"above": 0})
    precision: Literal["auto", "float32", "bfloat16"]
    gradient_checkpointing: bool
    evaluations: int = field(
        metadata={"min": 1}
    )  # validation passes, evenly spaced over the training; the last is at the end
    early_stop: int | None = field(
        metadata={"min": 1}
    )  # validation passes without a better score before training stops
    train_loss: bool  # evaluate the whole training split at the selected checkpoint (for G(W))
    about: Mapping[str, Any] = field(metadata={"science": False})
    warmup_steps: int | None = field(default=None, metadata={"neutral": None, "min": 0})  # instead of the ratio
    # adafactor: betas and eps are not used; see harness/training/adafactor.py
    optimizer: Literal["adamw", "adafactor"] = field(default="adamw", metadata={"neutral": "adamw"})


@dataclass(frozen=True)
class RunSpec:
    """One run. Its id is a digest of all of this."""

    method: MethodSpec
    model: ModelSpec
    dataset: DatasetSpec
    recipe: RecipeSpec
    seed: int = field(metadata={"min": 0, "max": 2**63 - 1})
    source: "RunSpec | None" = field(default=None, metadata={"neutral": None})  # the run whose adapter it starts from
