"""`peftlab show dataset=…`: the first three examples as a model sees them, for a person to read.

Text, not token ids: templates are filled in and nothing is shortened, as no tokenizer is chosen here.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from harness.config.overrides import Assignment
from harness.config.resolve import Resolver
from harness.ledger.dataset_spec import DatasetSpec, VisionLanguage
from harness.ledger.errors import DataError, SpecError
from harness.models.first_import import first_import
from harness.planning.plan import request_of

EXAMPLES = 3


def main(given: Namespace) -> int:
    """`peftlab show dataset=… [--json]`; several may be named, and their settings changed. 2 when one is not here.

    `method=…`, `model=…` and `recipe=…` are shown by `harness.cli.show_settings`.
    """
    asked = request_of(given.overrides).axes
    if "dataset" not in asked:
        from harness.cli.show_settings import show_settings

        return show_settings(asked, given.json)
    axes = {key: words for key, words in asked.items() if key.split(".")[0] == "dataset"}
    if others := [key for key in asked if key not in axes]:
        raise SpecError(f"{others[0]}: show takes one kind at a time, and this is about dataset.")
    resolver, code, shown = Resolver(), 0, []
    for chosen in product(*axes.values()):
        try:
            shown.append(described(resolver.part("dataset", chosen).spec))
        except DataError as error:
            print(f"peftlab: {_named(error, chosen)}\n", file=sys.stderr)
            code = 2
            continue
        if not given.json:
            print(as_text(shown[-1]), end="\n\n", flush=True)
    if given.json:
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    return code


def described(dataset: DatasetSpec) -> dict[str, Any]:
    """Source and sizes, and the first examples of train, as plain data. Raises DataError when the data is nowhere."""
    with first_import("torch"):
        from harness.cli.show_facts import facts
    from harness.data.classes import with_class_names
    from harness.data.source import find_source
    from harness.data.splits import divide, row_keys

    tables, known = find_source(dataset).read()
    parts = divide(dataset, tables)
    tables = with_class_names(dataset, tables, parts)
    source, rows = parts["train"].source, parts["train"].rows[:EXAMPLES]
    keys = row_keys(dataset.split, source, tables[source])
    return {
        "dataset": dataset.name,
        "kind": dataset.task.kind,
        "metric": dataset.metric,
        "direction": dataset.direction,
        "chance": dataset.chance,
        "source": {name: str(value) for name, value in known.items() if value is not None},
        "rows": {name: len(part.rows) for name, part in parts.items()},
        "facts": facts(dataset, tables, parts),
        "examples": [_example(dataset, str(keys[row]), tables[source].slice(row, 1).to_pylist()[0]) for row in rows],
    }


def as_text(view: Mapping[str, Any]) -> str:
    """`described`, for a person."""
    chance = "none" if view["chance"] is None else view["chance"]
    source = {name: value[:16] if name == "sha256" else value for name, value in view["source"].items()}
    lines = [
        f"{view['dataset']}: {view['kind']}, {view['metric']} ({view['direction']}), chance level {chance}",
        "source: " + ", ".join(f"{name} {value}" for name, value in source.items()),
        *view["facts"],
    ]
    for example in view["examples"]:
        lines += ["", f"── {example['key']}", *example["texts"]]
    return "\n".join(lines)


def _named(error: DataError, words: Sequence[Assignment]) -> str:
    """The sentence of an error, beginning with the dataset that it is about."""
    name = words[0].shown
    return str(error) if str(error).startswith("dataset ") else f"dataset {name}: {error}"


def _example(dataset: DatasetSpec, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"key": key, "texts": _views(dataset, row)}
    except DataError as error:
        raise DataError(f"row {key}: {error}") from error


def _views(dataset: DatasetSpec, row: Mapping[str, Any]) -> list[str]:
    """What encoders and decoders read, where that is not the same."""
    from harness.models.loaded import ImageProcessor, VisionProcessor
    from harness.tasks.build import bind

    as_they_are = ImageProcessor(size=1, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)  # images are not resized here
    if isinstance(dataset.task, VisionLanguage):
        return [bind(dataset, VisionProcessor(None, as_they_are, tokens=0), decoder=True).show(row)]
    encoder, decoder = (bind(dataset, as_they_are, decoder=decoder).show(row) for decoder in (False, True))
    return [encoder] if encoder == decoder else ["[encoders]", encoder, "[decoders]", decoder]
