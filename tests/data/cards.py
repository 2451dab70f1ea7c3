"""A dataset card around a folder of files, and its whole way: read, split, encode."""

from pathlib import Path
from typing import Any

from harness.data.load import Encoder, load_data
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from harness.models.tiny import tiny_tokenizer
from harness.tasks.build import bind

PROMPT = {"before": "", "context": "{text}", "after": "\nGood?", "cut": "right"}
CLASSES = {
    "kind": "text_classification", "text": ["text"], "shorten": "longest", "prompt": PROMPT, "label": "label",
    "labels": ["bad", "good"], "aliases": {}, "max_length": 64,
}  # fmt: skip
LANGUAGE = {"kind": "causal_lm", "prompt": PROMPT, "target": "{out}", "end": True, "max_length": 64}


def card(folder: Path, task: dict[str, Any] = CLASSES, *, split=None, source=None, **changes) -> DatasetSpec:
    """A quarter of train is the test, 15 % validation; no strata unless `split` names them."""
    raw = {
        "name": "case", "source": {"kind": "folder", "path": str(folder), "files": {}} | (source or {}),
        "split": {
            "train": "train", "validation": None, "test": None, "share": 0.15, "test_share": 0.25, "stratify": [],
            "group": None, "key": None,
        } | (split or {}),
        "task": task, "metric": "accuracy", "metrics": ["accuracy"], "direction": "max", "chance": 0.5, "about": {},
    }  # fmt: skip
    return parse(DatasetSpec, raw | changes, "dataset")


def encoded(spec: DatasetSpec, model: ModelSpec, cache: Path, tokenizers: Path | None = None):
    """(data, tokenizer): the splits as a tiny model of that card reads them."""
    tokenizer = tiny_tokenizer(model, tokenizers or cache)
    task = bind(spec, tokenizer, decoder=model.kind == "decoder")
    return load_data(spec, Encoder(task.encode, task.length, model.name), cache / spec.name), tokenizer
