"""`peftlab show dataset=…`: the first three examples as a model sees them, for a person to read.

Text, not token ids: templates are filled in and nothing is shortened, as no tokenizer is chosen here.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pyarrow as pa

from harness.config.overrides import Assignment
from harness.config.resolve import Resolver
from harness.data.source import find_source
from harness.data.splits import Part, divide, row_keys
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError, SpecError
from harness.models.loaded import ImageProcessor
from harness.planning.plan import read_request
from harness.tasks.build import bind
from harness.tasks.labels import label_of

EXAMPLES = 3
AS_THEY_ARE = ImageProcessor(size=1, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)  # images are not resized here


def main(argv: list[str]) -> int:
    """`peftlab show dataset=…`; several may be named, and their settings changed. 2 when one of them is not here."""
    axes = {key: words for key, words in read_request(argv).axes.items() if key.split(".")[0] == "dataset"}
    if "dataset" not in axes:
        raise SpecError("show takes the dataset to show, as in dataset=cola.")
    resolver, code = Resolver(), 0
    for words in product(*axes.values()):
        try:
            print(show(resolver.part("dataset", words).spec), end="\n\n", flush=True)
        except DataError as error:
            print(f"peftlab: {_named(error, words)}\n", file=sys.stderr)
            code = 2
    return code


def show(dataset: DatasetSpec) -> str:
    """Source and sizes, then the first examples of train. Raises DataError when the data is nowhere."""
    tables, known = find_source(dataset).read()
    parts = divide(dataset, tables)
    source, rows = parts["train"].source, parts["train"].rows[:EXAMPLES]
    keys = row_keys(dataset.split, source, tables[source])
    chance = "none" if dataset.chance is None else dataset.chance
    known = {name: str(value)[:16] if name == "sha256" else value for name, value in known.items()}
    lines = [
        f"{dataset.name}: {dataset.task.kind}, {dataset.metric} ({dataset.direction}), chance level {chance}",
        "source: " + ", ".join(f"{name} {value}" for name, value in known.items() if value is not None),
        "rows: " + ", ".join(f"{name} {len(part.rows):,} (from {part.source})" for name, part in parts.items()),
    ]
    if getattr(dataset.task, "labels", ()):
        lines.append("largest class: " + ", ".join(_largest(dataset, part, tables) for part in parts.items()))
    for row in rows:
        lines += ["", f"── {keys[row]}", *_views(dataset, tables[source].slice(row, 1).to_pylist()[0])]
    return "\n".join(lines)


def _named(error: DataError, words: Sequence[Assignment]) -> str:
    """The sentence of an error, beginning with the dataset that it is about."""
    name = words[0].shown
    return str(error) if str(error).startswith("dataset ") else f"dataset {name}: {error}"


def _largest(dataset: DatasetSpec, part: tuple[str, Part], tables: Mapping[str, pa.Table]) -> str:
    """Its name and its share of a split: what a constant guess scores."""
    task: Any = dataset.task
    name, found = part
    table = tables[found.source]
    if task.label not in table.column_names:
        raise DataError(f"there is no column '{task.label}'; the data has {', '.join(table.column_names)}.")
    values = table.select([task.label]).take(pa.array(found.rows)).to_pylist()
    labels = Counter(label_of(row, task.label, task.labels, getattr(task, "aliases", {})) for row in values)
    number, count = labels.most_common(1)[0]
    return f"{name} {task.labels[number]} {count / len(values):.1%}"


def _views(dataset: DatasetSpec, row: Mapping[str, Any]) -> list[str]:
    """What encoders and decoders read, where that is not the same."""
    encoder, decoder = (bind(dataset, AS_THEY_ARE, decoder=decoder).show(row) for decoder in (False, True))
    return [encoder] if encoder == decoder else ["[encoders]", encoder, "[decoders]", decoder]
