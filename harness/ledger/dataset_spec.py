"""A dataset's card, as data: where its rows come from, how they are split, what the task is and how it is scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class HubData:
    """Plain data files of a hub id (no script); PEFTLAB_MIRROR is looked into first."""

    kind: Literal["hub"]
    id: str
    config: str | None
    revision: str | None


@dataclass(frozen=True)
class BuiltinData:
    """Rows made here: harness/data has a builder of that name."""

    kind: Literal["builtin"]
    builder: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SplitSpec:
    """Where train, validation and test come from. Never a function of the run's seed (study, 3.1)."""

    train: str  # name of the upstream split
    validation: str | None  # null: `share` of train is held out
    test: str | None  # null: `test_share` of train is held out
    share: float
    test_share: float
    stratify: str | None
    group: str | None


@dataclass(frozen=True)
class TextClassification:
    """One text column, or two for a pair."""

    kind: Literal["text_classification"]
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    max_length: int


@dataclass(frozen=True)
class ImageClassification:
    """One image column; pixel values are normalised with the model processor's mean and deviation."""

    kind: Literal["image_classification"]
    image: str
    label: str
    labels: tuple[str, ...]
    image_size: int | None  # null: the model's own
    flip: bool  # horizontal flips in training


TaskSpec = TextClassification | ImageClassification


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset, resolved."""

    name: str
    source: HubData | BuiltinData
    split: SplitSpec
    task: TaskSpec
    metric: str  # the primary one: selection on validation and the tables use it
    metrics: tuple[str, ...]  # all that are computed, the primary among them
    direction: Literal["max", "min"]
    chance: float | None  # the primary metric's value for a constant guess
    about: Mapping[str, Any] = field(metadata={"science": False})  # label, licence, source
