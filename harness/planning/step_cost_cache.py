"""Ledgers of one step on paper, each distinct shape counted once and kept in the cache; a second plan loads no torch.

A shape is all that decides bytes and FLOPs: not the learning rate, the seed, the names, or which rows a dataset has.
The key also holds the versions and the source of what counts, so that a changed method or package is counted anew.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.ledger.dataset_spec import Choice, DatasetSpec, ImageClassification, TaskSpec, VisionLanguage
from harness.ledger.errors import SpecError
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.spec import RunSpec
from harness.models.families import is_lm, outputs
from harness.planning.counted import counted
from harness.planning.links import finished_links
from methods.errors import MethodError

ROOT = Path(__file__).resolve().parents[2]
COUNTS = (  # files and folders whose code decides what is counted
    "methods", "harness/models", "harness/probe/backbone.py", "harness/probe/entrants.py", "harness/measure/flops.py",
    "harness/measure/meta_device.py", "harness/measure/memory_breakdown.py", "harness/planning/step_cost.py",
    "harness/planning/beside.py", "harness/planning/links.py", "harness/training/adafactor.py",
)  # fmt: skip
PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class StepCost:
    """bytes: by role, of one micro-batch. flops: of one optimizer step. why: there is neither, and why not.
    block, rest: bytes, as stored, that would be shared out of the largest block and of what is in no block.
    beside: bytes that updates would keep beside shared out weights, whole in each process."""

    bytes: Mapping[str, float]
    flops: float | None
    why: str | None = None
    block: float = 0.0
    rest: float = 0.0
    beside: float = 0.0


def step_costs(
    specs: Iterable[Mapping[str, Any]], folder: Path, count: Callable[[RunSpec], StepCost]
) -> dict[str, StepCost]:
    """Key -> ledger for the plain specs of some runs; those not in `folder` yet are counted, with a bar on stderr."""
    costs: dict[str, StepCost] = {}
    missing: dict[str, Mapping[str, Any]] = {}
    for plain in specs:
        if (key := key_of(plain)) in costs or key in missing:
            continue
        kept = _read(folder / f"{key}.json")
        if kept is None:
            missing[key] = plain
        else:
            costs[key] = kept
    return costs | (_counted(missing, folder, count) if missing else {})


def key_of(plain: Mapping[str, Any]) -> str:
    """24 hex digits, equal for runs whose steps hold and compute the same."""
    try:
        shape = shape_of(plain)
    except (KeyError, SpecError, MethodError):  # no spec of ours: all of it
        shape = dict(plain)
    return hashlib.sha256(f"{_code()}/{json.dumps(shape, sort_keys=True)}".encode()).hexdigest()[:24]


def shape_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the bytes and the FLOPs of a run's step."""
    method, model, recipe = plain["method"], plain["model"], plain["recipe"]
    task = parse(DatasetSpec, plain["dataset"], "dataset").task
    rows = recipe["batch_size"] * rows_of(task)
    links = finished_links(parse(RunSpec, plain, "run")) if method["schedule"].get("kind") == "chain" else 0
    return {
        # which columns are taken, and when a link ends, cost nothing; but for links that stay beside weights
        "update": {key: value for key, value in method["update"].items() if links or key != "selector"},
        "links": links,
        "targets": method["targets"],
        "ranks": [method.get("ranks", {}), method["schedule"].get("max_rank")],
        "model": {key: value for key, value in model.items() if key not in ("name", "source", "about")},
        "task": {
            "next_token": is_lm(task),
            "outputs": outputs(task),
            "rows": rows,
            "length": None if isinstance(task, ImageClassification) else task.max_length,
            "images": recipe["batch_size"] if isinstance(task, VisionLanguage) else 0,
            "last_token": reads_last_token(task),
        },
        "recipe": {key: recipe[key] for key in ("accumulate", "gradient_checkpointing", "precision")}
        | {"optimizer": recipe.get("optimizer", "adamw")},
    }


def rows_of(task: TaskSpec) -> int:
    """Sequences that the model reads for each example: candidates are read one by one."""
    return len(task.candidates) if isinstance(task, Choice | VisionLanguage) and not reads_last_token(task) else 1


def reads_last_token(task: TaskSpec) -> bool:
    """Whether all candidates are read off the prompt's last position, which is so where each is one token; here: one
    word, without a tokenizer that would know."""
    if not isinstance(task, VisionLanguage) or task.answer != "candidates" or task.options is not None:
        return False
    return all("{" not in text and len(text.split()) == 1 for text in task.candidates)


def _counted(
    missing: Mapping[str, Mapping[str, Any]], folder: Path, count: Callable[[RunSpec], StepCost]
) -> dict[str, StepCost]:
    costs = {}
    with counted(f"counting memory of {len(missing)} shapes, once", len(missing)) as one_more:
        for key, plain in missing.items():
            costs[key] = _cost(plain, count)
            if costs[key].why is None:  # a reason may be this machine's, and pass
                _keep(costs[key], folder / f"{key}.json")
            one_more()
    return costs


def _cost(plain: Mapping[str, Any], count: Callable[[RunSpec], StepCost]) -> StepCost:
    try:
        return count(parse(RunSpec, plain, "run"))
    except SpecError as error:  # of a run that a runner of another's does
        return StepCost({}, None, f"cannot be counted: {error}")


def _keep(ledger: StepCost, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_json({**vars(ledger), "bytes": dict(ledger.bytes)}))
    except OSError:  # a cache that cannot be written to: the plan is shown, and counts again next time
        return


def _read(path: Path) -> StepCost | None:
    try:
        raw = json.loads(path.read_bytes())
        return StepCost(raw["bytes"], raw["flops"], None, raw["block"], raw["rest"], raw["beside"])
    except (OSError, ValueError, KeyError):  # absent, or damaged: counted anew
        return None


@cache
def _code() -> str:
    """Versions of the packages and a digest of the source that count."""
    total = hashlib.sha256()
    for place in (ROOT / name for name in COUNTS):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(path.read_bytes())
    return f"{[importlib.metadata.version(name) for name in PACKAGES]}/{total.hexdigest()}"
