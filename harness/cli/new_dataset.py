"""`peftlab new dataset NAME --from DATA`: a card with every key of a dataset, guessed from its columns.

What was guessed stands in comments, each with its rule, so that a person can correct it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.config.yaml_file import quoted, read_yaml
from harness.data.classes import with_class_names
from harness.data.files import read_table
from harness.data.guess import Guess, guess
from harness.data.source import find_source
from harness.data.splits import divide
from harness.data.table_place import VALIDATION, TablePlace, find_place
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError
from harness.ledger.metrics import check_card
from harness.ledger.parse import parse

LEAST_ROWS = 10
METRICS = {"regression": ("pearson", "spearman")}  # the first is the primary one


@dataclass(frozen=True)
class Draft:
    """All that a card is made of."""

    name: str
    place: TablePlace
    known: Guess
    rows: Mapping[str, int]  # by split
    chance: float


def dataset_card(name: str, data: Path, label: str | None) -> str:
    """The yaml, held against the data. Raises DataError where the data allows no guess, SpecError for a path."""
    place = find_place(data)
    tables = {split: read_table(files, **place.reading) for split, files in place.splits.items()}
    rows = {split: table.num_rows for split, table in tables.items()}
    if sum(rows.values()) < LEAST_ROWS:
        raise DataError(f"{data} has {sum(rows.values())} rows; at least {LEAST_ROWS} are needed.")
    draft = Draft(name, place, guess(pa.concat_tables(tables.values(), promote_options="permissive"), label), rows, 0.0)
    if draft.known.kind != "regression":
        draft = replace(draft, chance=_chance(_spec(draft)))
    return card_text(draft)


def card_text(draft: Draft) -> str:
    """Raises DataError for a text in it that a config would read as a variable."""
    text = "\n".join(_lines(draft)) + "\n"
    if "${" in text:
        raise DataError("a column or label holds '${', which a config reads as a variable; change it in the data.")
    return text


def _spec(draft: Draft) -> DatasetSpec:
    spec = parse(DatasetSpec, read_yaml(card_text(draft), "the new card"), "dataset")
    check_card(spec)
    return spec


def _chance(spec: DatasetSpec) -> float:
    """The share of the largest class in the test rows that this card holds out."""
    tables, _ = find_source(spec).read()
    parts = divide(spec, tables)
    task: Any = spec.task
    labels = with_class_names(spec, tables, parts)[parts["test"].source].column(task.label).to_pylist()
    counts = Counter(labels[row] for row in parts["test"].rows)
    return round(max(counts.values()) / sum(counts.values()), 3)


def _lines(draft: Draft) -> Iterator[str]:
    known = draft.known
    is_image, is_number = known.kind == "image_classification", known.kind == "regression"
    metrics = METRICS.get(known.kind, ("accuracy", "f1_macro"))
    counts = ", ".join(f"{split}: {count}" for split, count in draft.rows.items())
    yield f"# Written by `peftlab new dataset {draft.name}`. What is guessed says so: look at it once."
    yield f"name: {quoted(draft.name)}"
    yield from _source_lines(draft.place)
    yield from _split_lines(draft.place, known)
    yield "task:"
    yield f"  kind: {known.kind} # guessed: {known.why['kind']}"
    yield from _image_lines(known) if is_image else _text_lines(known)
    yield f"metric: {metrics[0]} # what selects a checkpoint and what tables show"
    yield f"metrics: [{', '.join(metrics)}]"
    yield "direction: max"
    yield f"chance: {draft.chance} # " + ("no relation at all" if is_number else "the largest class of the test rows")
    if known.missing_text != "error":
        yield f"missing_text: {known.missing_text} # some rows have no text"
    yield "about:"
    yield f"  label: {quoted(draft.name)} # in tables and pictures"
    yield "  licence: not stated"
    yield "  source: your own"
    yield f"  rows: {{{counts}}} # for the times that `plan` shows"


def _source_lines(place: TablePlace) -> Iterator[str]:
    files = ", ".join(f"{split}: {quoted(pattern)}" for split, pattern in place.files.items())
    yield "source:"
    yield "  kind: folder"
    yield f"  path: {quoted(str(place.folder))}"
    yield f"  files: {{{files}}}"
    for key, value in place.reading.items():
        yield f"  {key}: {quoted(value)} # guessed"


def _split_lines(place: TablePlace, known: Guess) -> Iterator[str]:
    validation = next((split for split in VALIDATION if split in place.splits), None)
    test = "test" if "test" in place.splits else None
    yield "split: # by hash, never by a run's seed"
    yield "  train: train"
    yield f"  validation: {validation or 'null # a share of train is held out'}"
    yield f"  test: {test or 'null # a test_share of train is held out'}"
    yield f"  share: {0.0 if validation else 0.1}"
    yield f"  test_share: {0.0 if test else 0.2}"
    yield f"  stratify: {_list(known.stratify)} # columns that are held out in equal shares of their values"
    yield "  group: null # a column whose rows must stay together, such as a person; then stratify: []"
    yield "  key: null # a column with an id of each row; null: its number"


def _image_lines(known: Guess) -> Iterator[str]:
    yield f"  image: {quoted(known.inputs[0])} # guessed: {known.why['inputs']}"
    yield from _label_lines(known)
    yield "  image_size: null # the model's own"
    yield "  flip: false # true: half of the training images are mirrored"


def _text_lines(known: Guess) -> Iterator[str]:
    first, *second = known.inputs
    cue = known.label.replace("{", "{{").replace("}", "}}")
    after = "".join([*(f"\n{{{name}}}" for name in second), f"\n{cue}:"])
    yield f"  text: {_list(known.inputs)} # guessed: {known.why['inputs']}"
    yield "  shorten: longest # of a pair that is too long"
    yield "  prompt: # what decoders read"
    yield '    before: ""'
    yield f"    context: {quoted(f'{{{first}}}')}"
    yield f"    after: {quoted(after)}"
    yield "    cut: right"
    yield from _label_lines(known)
    yield f"  max_length: {known.max_length} # guessed: {known.why['max_length']}"


def _label_lines(known: Guess) -> Iterator[str]:
    yield f"  label: {quoted(known.label)} # {known.why['label']}"
    if known.labels:
        yield f"  labels: {_list(known.labels)} # all values of the column"
        yield "  aliases: {} # other names that the data has for a label"


def _list(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(quoted, names))}]"
