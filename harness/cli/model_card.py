"""README.md of what leaves the harness: scores, cost, how it was trained and how to load it, from the run's record.

Format: https://huggingface.co/docs/hub/model-cards (a head in YAML, of which JSON is a part). What cards and records
say is escaped.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.cli.how_to_load import PIPELINES
from harness.ledger.model_spec import HubModel
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import Record
from harness.ledger.spec import RunSpec

_RECIPE = ("epochs", "max_steps", "batch_size", "accumulate", "optimizer", "lr", "head_lr", "schedule", "weight_decay")
_PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class Told:
    """What lies in the folder, in a sentence, which library loads it, and by which lines of Python."""

    what: str
    library: str
    code: str


def model_card(record: Record, spec: RunSpec, told: Told, base: str | None) -> str:
    """The whole text; base: the base model's name at the hub."""
    method, model, dataset = (_label(part.about, part.name) for part in (spec.method, spec.model, spec.dataset))
    parts = [
        _head(spec, told.library, base),
        f"# {model}, {method}, {dataset}",
        told.what,
        _scores(record, spec),
        _cost(record),
        _training(record, spec),
        f"## How to load it\n\nRun it in this folder, with {told.library} installed.\n\n```python\n{told.code}\n```",
        _prompt(spec),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(spec: RunSpec, library: str, base: str | None) -> str:
    known = {
        "library_name": library,
        "pipeline_tag": PIPELINES[spec.dataset.task.kind],
        "base_model": base,
        "datasets": [spec.dataset.source.id] if getattr(spec.dataset.source, "kind", "") == "hub" else None,  # type: ignore[union-attr]
        "metrics": list(spec.dataset.metrics),
        "tags": sorted({"peftlab", spec.method.name, spec.dataset.name}),
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in known.items() if value]
    return "\n".join(["---", *lines, "---"])


def _scores(record: Record, spec: RunSpec) -> str:
    rows = [
        [name, *(_number(record.scores.get(split, {}).get(name)) for split in ("val", "test"))]
        for name in (*spec.dataset.metrics, "loss")
    ]
    n = next((q.n for q in record.scores.get("test", {}).values() if isinstance(q, Measured)), 0)
    chance = spec.dataset.constant_guess if spec.dataset.constant_guess is not None else spec.dataset.chance
    guess = "" if chance is None else f" A constant guess scores {chance:g} ({spec.dataset.metric})."
    note = f"One run with seed {spec.seed}; {n} test examples.{guess}"
    if spec.model.size == "tiny":
        note += " The model is a tiny random one: its scores mean nothing."
    return f"## Scores\n\n{_table(['metric', 'validation', 'test'], rows)}\n\n{note}"


def _cost(record: Record) -> str:
    wanted: list[tuple[str, Mapping[str, Quantity], str]] = [
        ("training (s)", record.seconds, "train"),
        ("median training step (ms)", record.speed, "step_ms_median"),
        ("peak resident memory while training (bytes)", record.memory, "train_peak_rss"),
        ("peak GPU memory while training (bytes)", record.memory, "train_peak_allocated"),
        ("trained parameters", record.parameters, "trainable"),
        ("of these in the adapter", record.parameters, "adapter"),
        ("all parameters", record.parameters, "total"),
    ]
    rows = [[name, _number(group[key])] for name, group, key in wanted if isinstance(group.get(key), Measured)]
    device = record.provenance.get("device") or {}
    where = f" On {_plain(str(device.get('name')))}." if device.get("name") else ""
    why = record.why_not_comparable
    doubt = "" if why is None else f" Its times are not comparable with others': {_plain(why)}"
    return f"## Cost\n\n{_table(['what', 'measured'], rows)}\n\n{(where + doubt).strip()}".rstrip()


def _training(record: Record, spec: RunSpec) -> str:
    about, recipe, packages = spec.method.about, vars(spec.recipe), record.provenance.get("packages") or {}
    selected = record.selected
    rows = {
        "run": record.id,
        "method": _label(about, spec.method.name),
        **{key: _plain(str(about[key])) for key in ("formula", "source") if about.get(key)},
        "base model": _plain(_base(spec)),
        "dataset": _label(spec.dataset.about, spec.dataset.name),
        "licence of the model": _plain(str(spec.model.about.get("licence", "not stated"))),
        "licence of the data": _plain(str(spec.dataset.about.get("licence", "not stated"))),
        **{_plain(f"recipe.{key}"): str(recipe[key]) for key in _RECIPE if recipe.get(key) is not None},
        "packages": ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if packages.get(name)),
        "tested": f"after step {selected.get('step')}, the best on validation by {_plain(str(selected.get('metric')))}",
    }
    return f"## How it was trained\n\n{_table(['', ''], [list(row) for row in rows.items()])}"


def _base(spec: RunSpec) -> str:
    source = spec.model.source
    name = source.id if isinstance(source, HubModel) else spec.model.name
    return f"a tiny random model of the kind of {name}" if spec.model.size == "tiny" else name


def _prompt(spec: RunSpec) -> str:
    if getattr(spec.dataset.task, "prompt", None) is None or spec.model.kind == "text_encoder":
        return ""
    return (
        "## Prompt\n\n`task.json` holds the template it was trained with: `before`, `context` and `after` in a row, "
        "each {column} replaced. A prompt of more than `max_length` tokens lost words of its context alone, at the end "
        "that `cut` names."
    )


def _label(about: Mapping[str, Any], name: str) -> str:
    return _plain(str(about.get("label", name)))


def _plain(text: str) -> str:
    """No Markdown and no HTML, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def _number(quantity: Quantity | None) -> str:
    if not isinstance(quantity, Measured):
        return "–"
    return f"{quantity.value:,.0f}" if float(quantity.value).is_integer() else f"{quantity.value:.4g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
