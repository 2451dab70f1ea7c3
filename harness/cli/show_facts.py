"""What `show` says of a dataset as a whole: sizes, shares of classes, rows in two splits, and the level of chance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from harness.data.duplicates import shared_rows
from harness.data.fields import column_values
from harness.data.splits import SplitRows
from harness.ledger.dataset_spec import DatasetSpec
from harness.models.first_import import first_import
from harness.tasks.scores import score
from harness.tasks.task import Prediction

ROUNDING = 0.001  # cards give three digits


def facts(dataset: DatasetSpec, tables: Mapping[str, pa.Table], parts: Mapping[str, SplitRows]) -> list[str]:
    """Lines of text; `tables` hold class names."""
    lines = ["rows: " + ", ".join(f"{name} {len(part.rows):,} (from {part.source})" for name, part in parts.items())]
    shared = shared_rows(dataset, tables, parts)
    if shared:
        lines.append("in two splits: " + ", ".join(f"{pair} {count:,}" for pair, count in shared.items()))
    if getattr(dataset.task, "labels", ()):
        classes = {name: class_column(dataset, tables[part.source], part.rows) for name, part in parts.items()}
        lines.append("largest class: " + ", ".join(_largest(name, values) for name, values in classes.items()))
        lines += _chance(dataset, classes["test"])
    return lines


def class_column(dataset: DatasetSpec, table: pa.Table, rows: Sequence[int]) -> list[tuple[str, ...]]:
    """The classes of each row, by name: one, or with `multi_label` one or more."""
    task: Any = dataset.task
    values = column_values(table, task.label)
    return [tuple(values[row]) if isinstance(values[row], list) else (values[row],) for row in rows]


def constant_guess(dataset: DatasetSpec, classes: Sequence[tuple[str, ...]]) -> float:
    """The primary metric of the best of all constant guesses."""
    task: Any = dataset.task
    values = []
    for guess in dict.fromkeys(name for names in classes for name in names):
        targets = (guess if guess in names else names[0] for names in classes)
        rows = [Prediction(str(i), target, guess, 0.0, 0.0, 1) for i, target in enumerate(targets)]
        values.append(score(rows, [dataset.metric], positive=task.labels[-1])[dataset.metric].value)
    return (max if dataset.direction == "max" else min)(values)


def _largest(name: str, classes: Sequence[tuple[str, ...]]) -> str:
    """A class and its share of a split's rows."""
    label, count = Counter(label for labels in classes for label in labels).most_common(1)[0]
    return f"{name} {label} {count / len(classes):.1%}"


def _chance(dataset: DatasetSpec, classes: Sequence[tuple[str, ...]]) -> list[str]:
    """A line where the card's chance level is not what a constant guess scores on the test split."""
    with first_import("evaluate"):
        right = constant_guess(dataset, classes)
    known = dataset.chance if dataset.constant_guess is None else dataset.constant_guess
    if known is not None and abs(known - right) <= ROUNDING:
        return []
    return [
        f"chance: the card says {known}; the best constant guess on test has {dataset.metric} {right:.3f}; "
        f"write constant_guess: {right:.3f} on the card."
    ]
