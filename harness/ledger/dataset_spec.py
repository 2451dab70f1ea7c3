"""A dataset's card, as data: where its rows come from, how they are split, what the task is and how it is scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.ledger.errors import SpecError

LEFT_OUT = "[left out]"  # for the path of local data, in records that were shared: their ids cannot be recomputed


@dataclass(frozen=True)
class HubData:
    """Plain data files of a hub id (no script). First under PEFTLAB_MIRROR: `<id>/[config/]<split>-*.parquet`."""

    kind: Literal["hub"]
    id: str
    config: str | None
    revision: str | None
    files: Mapping[str, str]  # upstream split -> path pattern within the repository; empty: as in the mirror


@dataclass(frozen=True)
class FolderData:
    """Files of this machine: `path` holds `<split>.csv`, `.tsv`, `.parquet`, `.json` or `.jsonl` (also .gz), shards
    `<split>-00000.…`, a folder `<split>/`, or the `files` named here."""

    kind: Literal["folder"]
    path: str  # ${VAR} of the environment and ~ are expanded
    files: Mapping[str, str]
    encoding: str = field(default="utf-8", metadata={"neutral": "utf-8"})  # of text files, by Python's name for it
    delimiter: str | None = field(default=None, metadata={"neutral": None})  # of CSV and TSV; null: a comma and a tab


@dataclass(frozen=True)
class BuiltinData:
    """Rows made here: harness/data has a builder of that name."""

    kind: Literal["builtin"]
    builder: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SplitSpec:
    """Where train, validation and test come from. Never a function of the run's seed (study, §3.1).

    When validation and test name the same upstream split, it is shared between them: `share` of it is validation.
    """

    train: str  # name of the upstream split
    validation: str | None  # null: `share` of train is held out
    test: str | None  # null: `test_share` of train is held out
    share: float = field(metadata={"min": 0, "below": 1})
    test_share: float = field(metadata={"min": 0, "below": 1})
    stratify: tuple[str, ...]  # columns whose combined values are held out in equal shares
    group: str | None  # column whose values are never torn apart
    key: str | None  # column with the upstream id of a row; null: its number in the source split
    limit: Mapping[str, int] = field(
        default_factory=dict, metadata={"neutral": {}, "min": 1}
    )  # train, validation, test: at most so many rows, by hash


@dataclass(frozen=True)
class Prompt:
    """Three templates, `{column}` being a row's value; too long a prompt loses words of `context` and of nothing else.

    Filters: `{column:slots}` turns E2E's `name[Alimentum], area[city centre]` into `area=city centre ; name=alimentum`.
    """

    before: str
    context: str
    after: str
    cut: Literal["left", "right"]  # which end of `context` is lost


@dataclass(frozen=True)
class TextClassification:
    """One text column, or two for a pair. Decoders (last token), and encoders without `text`, read the prompt."""

    kind: Literal["text_classification"]
    text: tuple[str, ...] = field(metadata={"items": (0, 2)})
    shorten: Literal["first", "longest"]  # of a pair that is too long: the first text, or the longer one in turn
    prompt: Prompt | None  # null: the texts, one per line
    label: str
    labels: tuple[str, ...] = field(metadata={"items": (2, None), "distinct": True})
    aliases: Mapping[str, str]  # other names that the data has for a label
    max_length: int = field(metadata={"min": 1})


@dataclass(frozen=True)
class Regression:
    """One number for a text or a pair; squared error."""

    kind: Literal["regression"]
    text: tuple[str, ...] = field(metadata={"items": (0, 2)})
    shorten: Literal["first", "longest"]
    prompt: Prompt | None
    label: str
    max_length: int = field(metadata={"min": 1})


@dataclass(frozen=True)
class ImageClassification:
    """One image column; pixel values are normalised with the model processor's mean and deviation."""

    kind: Literal["image_classification"]
    image: str
    label: str
    labels: tuple[str, ...] = field(metadata={"items": (2, None), "distinct": True})
    image_size: int | None = field(metadata={"min": 1})  # null: the model's own
    flip: bool  # horizontal flips in training, p = 0.5
    aliases: Mapping[str, str] = field(default_factory=dict, metadata={"neutral": {}})


@dataclass(frozen=True)
class CausalLM:
    """The target's tokens after the prompt's; the loss is on the target alone."""

    kind: Literal["causal_lm"]
    prompt: Prompt
    target: str
    end: bool  # the end-of-text token closes the target and is learnt
    max_length: int = field(metadata={"min": 1})


@dataclass(frozen=True)
class Generation:
    """Trained as `CausalLM`; answers are written greedily and compared as text.

    With `references`, the path of a list of texts in the row, what is written is right when it equals any of them.
    """

    kind: Literal["generation"]
    prompt: Prompt
    target: str
    max_length: int = field(metadata={"min": 1})
    max_new_tokens: int = field(metadata={"min": 1})
    references: str | None = field(default=None, metadata={"neutral": None})


@dataclass(frozen=True)
class Choice:
    """The candidate of the highest mean log-likelihood per token; trained by cross-entropy over the candidates.

    With `options`, the path of a list in the row, there is a candidate for each of its items, however many a row has:
    `candidates` is then one template, in which `{option}` is the item.
    With `multi_label`, `label` holds a list: any of its classes is right, and the loss is of their total probability.
    """

    kind: Literal["choice"]
    prompt: Prompt
    candidates: tuple[str, ...] = field(metadata={"items": (0, None)})
    label: str
    labels: tuple[str, ...] = field(
        metadata={"items": (2, None), "distinct": True}
    )  # the value of `label` that names each candidate
    max_length: int = field(metadata={"min": 1})
    options: str | None = field(default=None, metadata={"neutral": None})
    aliases: Mapping[str, str] = field(default_factory=dict, metadata={"neutral": {}})
    multi_label: bool = field(default=False, metadata={"neutral": False})


@dataclass(frozen=True)
class VisionLanguage:
    """An image, then the prompt; the image is before the prompt's first word.

    answer "candidates": as in `Choice`, of `candidates` (or `options`), `label`, `labels` and `aliases`.
    answer "generation": as in `Generation`, of `target` and `max_new_tokens`. With `answers`, a row's references: one
    text, a list of texts, or a list of {answer: text}; `{answer}` in `target` is the most frequent of them.
    """

    kind: Literal["vision_language"]
    image: str
    prompt: Prompt
    answer: Literal["candidates", "generation"]
    max_length: int = field(metadata={"min": 1})  # tokens of the text; the image's own are beside it
    candidates: tuple[str, ...] = field(default=(), metadata={"neutral": ()})
    options: str | None = field(default=None, metadata={"neutral": None})
    label: str | None = field(default=None, metadata={"neutral": None})
    labels: tuple[str, ...] = field(default=(), metadata={"neutral": (), "distinct": True})
    aliases: Mapping[str, str] = field(default_factory=dict, metadata={"neutral": {}})
    answers: str | None = field(default=None, metadata={"neutral": None})
    target: str | None = field(default=None, metadata={"neutral": None})
    max_new_tokens: int | None = field(default=None, metadata={"neutral": None, "min": 1})

    def __post_init__(self) -> None:
        """Raises SpecError when the fields of the chosen `answer` are not all there, or those of the other one are."""
        choice = {"candidates": self.candidates, "label": self.label, "labels": self.labels}
        written = {"target": self.target, "max_new_tokens": self.max_new_tokens}
        mine, others = (choice, written) if self.answer == "candidates" else (written, choice)
        if absent := [name for name, value in mine.items() if not value]:
            raise SpecError(f"dataset.task: answer: {self.answer} needs {', '.join(absent)}.")
        others |= {"answers": self.answers} if self.answer == "candidates" else {"options": self.options}
        if strange := [name for name, value in others.items() if value]:
            raise SpecError(
                f"dataset.task: {', '.join(strange)} is of no use with answer: {self.answer}; leave it out."
            )
        if self.answer == "candidates" and len(self.labels) < 2:
            raise SpecError(f"dataset.task.labels: {list(self.labels)} holds 1 of at least 2 that are needed.")


TaskSpec = TextClassification | Regression | ImageClassification | CausalLM | Generation | Choice | VisionLanguage


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset, resolved."""

    name: str
    source: HubData | FolderData | BuiltinData
    split: SplitSpec
    task: TaskSpec
    metric: str  # the primary one: selection on validation and the tables use it
    metrics: tuple[str, ...]  # all that are computed, the primary among them
    direction: Literal["max", "min"]
    chance: float | None = field(metadata={"min": -1})  # the primary metric's value for a constant guess
    about: Mapping[str, Any] = field(metadata={"science": False})  # label, licence, source
    # what a constant guess scores on the test split, where `chance`, which is part of the id, was written otherwise
    constant_guess: float | None = field(default=None, metadata={"neutral": None, "science": False, "min": -1})
    missing_text: Literal["error", "empty"] = field(
        default="error", metadata={"neutral": "error"}
    )  # what a null input is; never a target
    # columns of lists that go in step: each item becomes a row, whose column `row` is the number of the row it is of
    unnest: tuple[str, ...] = field(default=(), metadata={"neutral": (), "distinct": True})
    # columns that a row must have a value in; rows without one are left out
    require: tuple[str, ...] = field(default=(), metadata={"neutral": (), "distinct": True})
    # datasets of what a language model knew before, which `peftlab diagnose kinds=forgetting` asks it again
    retention: tuple[str, ...] = field(default=(), metadata={"neutral": (), "science": False, "distinct": True})
    # the first digits of the SHA-256 of local files that changed after a run of the same card was recorded; set when
    # planning, and held to the files when the run begins. null: the files of the first such run
    content: str | None = field(default=None, metadata={"neutral": None})
