"""`peftlab show dataset=…`: the first three examples as a model sees them, for a person to read.

Text, not token ids: templates are filled in and nothing is shortened, as no tokenizer is chosen here.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from harness.data.source import find_source
from harness.data.splits import divide, row_keys
from harness.ledger.dataset_spec import DatasetSpec
from harness.models.loaded import ImageProcessor
from harness.plan import read_request
from harness.resolve import Resolver
from harness.tasks.build import bind

EXAMPLES = 3
AS_THEY_ARE = ImageProcessor(size=1, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)  # images are not resized here


def main(argv: list[str]) -> int:
    """`peftlab show dataset=…`; several datasets may be named, and their settings changed."""
    axes = {key: words for key, words in read_request(argv).axes.items() if key.split(".")[0] == "dataset"}
    resolver = Resolver()
    for words in product(*axes.values()):
        print(show(resolver.part("dataset", words).spec), end="\n\n")
    return 0


def show(dataset: DatasetSpec) -> str:
    """Source and sizes, then the first examples of train. Raises DataError when the data is nowhere."""
    tables, known = find_source(dataset).read()
    parts = divide(dataset, tables)
    source, rows = parts["train"].source, parts["train"].rows[:EXAMPLES]
    keys = row_keys(dataset.split, source, tables[source])
    lines = [
        f"{dataset.name}: {dataset.task.kind}, {dataset.metric} ({dataset.direction}), chance {dataset.chance}",
        "source: " + ", ".join(f"{name} {value}" for name, value in known.items() if value is not None),
        "rows: " + ", ".join(f"{name} {len(part.rows):,} (from {part.source})" for name, part in parts.items()),
    ]
    for row in rows:
        lines += ["", f"── {keys[row]}", *_views(dataset, tables[source].slice(row, 1).to_pylist()[0])]
    return "\n".join(lines)


def _views(dataset: DatasetSpec, row: Mapping[str, Any]) -> list[str]:
    """What encoders and decoders read, where that is not the same."""
    encoder, decoder = (bind(dataset, AS_THEY_ARE, decoder=decoder).show(row) for decoder in (False, True))
    return [encoder] if encoder == decoder else ["[encoders]", encoder, "[decoders]", decoder]
