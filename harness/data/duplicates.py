"""Rows that are in two splits: what is tested there was trained on."""

import hashlib
import string
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from harness.data.fields import column_of, value_at
from harness.data.splits import SplitRows
from harness.ledger.dataset_spec import (
    CausalLM,
    Choice,
    DatasetSpec,
    Generation,
    ImageClassification,
    TaskSpec,
    VisionLanguage,
)

PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))


def shared_rows(spec: DatasetSpec, tables: Mapping[str, pa.Table], parts: Mapping[str, SplitRows]) -> dict[str, int]:
    """`{"test in train": 23}`: rows of a split whose inputs (of language models: and targets) are in the other too.

    Labels are not compared: a row that comes back with another label is shared as well. Pairs without any are left out.
    """
    paths = input_paths(spec.task)
    digests = {name: _digests(tables[part.source], part.rows, paths) for name, part in parts.items()}
    sets = {name: set(of_split) for name, of_split in digests.items()}
    counts = {f"{split} in {other}": sum(d in sets[other] for d in digests[split]) for split, other in PAIRS}
    return {pair: count for pair, count in counts.items() if count}


def input_paths(task: TaskSpec) -> tuple[str, ...]:
    """The places of a row that the task reads, but for the label."""
    if isinstance(task, ImageClassification):
        return (task.image,)
    texts = getattr(task, "text", ())
    if texts:
        return texts
    templates = [task.prompt.before, task.prompt.context, task.prompt.after] if task.prompt else []
    if isinstance(task, CausalLM | Generation):
        templates.append(task.target)
    if isinstance(task, Choice | VisionLanguage):
        templates += task.candidates if task.options is None else [f"{{{task.options}}}"]
    if isinstance(task, VisionLanguage):
        templates.append(f"{{{task.image}}}")
    fields = [field for template in templates for _, field, _, _ in string.Formatter().parse(template) if field]
    return tuple(dict.fromkeys(fields))


def _digests(table: pa.Table, rows: tuple[int, ...], paths: tuple[str, ...]) -> list[bytes]:
    columns = list(dict.fromkeys(column_of(path, table.column_names) for path in paths))
    narrow = table.select(columns)
    digests: list[bytes] = []
    for start in range(0, len(rows), 256):  # images are large
        for row in narrow.take(pa.array(rows[start : start + 256])).to_pylist():
            digests.append(_digest([value_at(row, path) for path in paths]))
    return digests


def _digest(values: list[Any]) -> bytes:
    plain = [value.get("bytes", value) if isinstance(value, Mapping) else value for value in values]
    return hashlib.sha256(repr(plain).encode("utf-8", "surrogatepass")).digest()
