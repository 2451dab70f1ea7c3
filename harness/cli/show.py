"""`peftlab show dataset=…`: the first three examples as a model sees them, for a person to read.

Text, not token ids: templates are filled in and nothing is shortened, as no tokenizer is chosen here.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from harness.config.overrides import Assignment
from harness.config.resolve import Resolver
from harness.ledger.dataset_spec import DatasetSpec, VisionLanguage
from harness.ledger.errors import DataError, SpecError
from harness.planning.plan import read_request

EXAMPLES = 3


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
    from harness.cli.show_facts import facts
    from harness.data.classes import with_class_names
    from harness.data.source import find_source
    from harness.data.splits import divide, row_keys

    tables, known = find_source(dataset).read()
    parts = divide(dataset, tables)
    tables = with_class_names(dataset, tables, parts)
    source, rows = parts["train"].source, parts["train"].rows[:EXAMPLES]
    keys = row_keys(dataset.split, source, tables[source])
    chance = "none" if dataset.chance is None else dataset.chance
    known = {name: str(value)[:16] if name == "sha256" else value for name, value in known.items()}
    lines = [
        f"{dataset.name}: {dataset.task.kind}, {dataset.metric} ({dataset.direction}), chance level {chance}",
        "source: " + ", ".join(f"{name} {value}" for name, value in known.items() if value is not None),
        *facts(dataset, tables, parts),
    ]
    for row in rows:
        lines += ["", f"── {keys[row]}", *_views(dataset, tables[source].slice(row, 1).to_pylist()[0])]
    return "\n".join(lines)


def _named(error: DataError, words: Sequence[Assignment]) -> str:
    """The sentence of an error, beginning with the dataset that it is about."""
    name = words[0].shown
    return str(error) if str(error).startswith("dataset ") else f"dataset {name}: {error}"


def _views(dataset: DatasetSpec, row: Mapping[str, Any]) -> list[str]:
    """What encoders and decoders read, where that is not the same."""
    from harness.models.loaded import ImageProcessor, VisionProcessor
    from harness.tasks.build import bind

    as_they_are = ImageProcessor(size=1, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)  # images are not resized here
    if isinstance(dataset.task, VisionLanguage):
        return [bind(dataset, VisionProcessor(None, as_they_are, tokens=0), decoder=True).show(row)]
    encoder, decoder = (bind(dataset, as_they_are, decoder=decoder).show(row) for decoder in (False, True))
    return [encoder] if encoder == decoder else ["[encoders]", encoder, "[decoders]", decoder]
