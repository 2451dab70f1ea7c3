"""The state of a run on disk while it runs: written aside, named last, so that a killed run goes on from a whole one.

Tensors are safetensors; the optimizer's state is read back with `weights_only=True`. Nothing is unpickled. Each file is
held against the digest it was written with; what cannot be used is set aside, and the run starts anew.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.ledger.events import last_event
from harness.ledger.parse import parse
from harness.ledger.paths import flush, to_json, write_whole
from harness.ledger.quantity import Measured
from harness.ledger.record import CLOCKS, Point
from harness.training.context import Best, RunContext, TrainState
from harness.training.failures import is_node_trouble, is_out_of_memory, message_of
from harness.training.optimizer import build_optimizer, load_optimizer
from harness.training.sharding import gather_moments

METHOD, OPTIMIZER, BEST = "method.safetensors", "optimizer.pt", "best.safetensors"
_SEAL = "sha256"  # of the other facts in state.json


class UnreadableCheckpoint(Exception):
    """A saved state that is damaged, or that is not this run's."""


@dataclass(frozen=True)
class _BestFacts:
    step: int
    value: float
    scores: Mapping[str, Measured]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _ClockFacts:
    seconds: Mapping[str, float]
    wall: float
    train_wasted: float
    one_off: bool = field(metadata={"neutral": False})  # checkpoints of earlier versions have none


@dataclass(frozen=True)
class _Facts:
    """state.json, but for its seal."""

    run: str | None  # its id; null in checkpoints of the first version, which has no digests either
    files: Mapping[str, str]  # name -> SHA-256
    step: int
    method: Mapping[str, Any]
    curve: tuple[Point, ...]
    best: _BestFacts | None
    loss_sum: float
    loss_steps: int
    samples: int
    attempts: int
    timer: Mapping[str, Any]
    memory: Mapping[str, Any]
    clocks: _ClockFacts
    contention: Mapping[str, Any]  # empty in checkpoints of earlier versions
    data: str | None = field(metadata={"neutral": None})  # SHA-256 of the rows' source; earlier versions: none
    model: str | None = field(metadata={"neutral": None})  # revision of the pretrained weights; earlier versions: none


def save_checkpoint(context: RunContext, state: TrainState, optimizer: torch.optim.Optimizer) -> None:
    """All that a restart needs: tensors and facts of the method, optimizer, best checkpoint, curve, clocks."""
    tensors, moments = context.gathered(), gather_moments(optimizer, context.world.first)
    if not context.world.first:
        return
    folder = context.folder
    home = folder.checkpoint / f"step-{state.step}"
    _remove(home)  # what a save that was cut off has left
    home.mkdir(parents=True)
    _save(tensors, home / METHOD)
    with (home / OPTIMIZER).open("wb") as file:  # Python's file says why it cannot be written; torch's own does not
        torch.save(moments, file)
    if state.best is not None:
        _save(state.best.tensors, home / BEST)
    flush(home.iterdir())
    facts = _facts(context, state) | {"run": folder.id, "files": _digests(home.iterdir())}
    write_whole(
        folder.checkpoint / "state.json", to_json(facts | {_SEAL: _seal(facts)})
    )  # the old one counts until here
    for old in folder.checkpoint.glob("step-*"):
        if old.name != home.name:
            _remove(folder.checkpoint / old.name)


def load_checkpoint(context: RunContext, state: TrainState) -> torch.optim.Optimizer | None:
    """Put the newest whole checkpoint into the parts and `state`; its optimizer, None when there is none.

    The optimizer is built after the method is restored: a method may have come to other parameters meanwhile.

    Raises UnreadableCheckpoint when there is one that cannot be used: the model and the optimizer may then hold half of
    it; `state` and the clocks are as they were.
    """
    place = context.folder.checkpoint
    try:
        facts = _read_facts(place, context.folder.id)
        if facts is None:
            return None
        if facts.data not in (None, _content(context)):
            raise ValueError("the data changed since it was saved")
        if facts.model not in (None, context.loaded.revision):
            raise ValueError("the pretrained weights changed since it was saved")
        best, optimizer = _restore_parts(place / f"step-{facts.step}", facts, context)
    except Exception as error:  # broad: a damaged file can raise anything, in any library
        damaged = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        if not damaged and (is_node_trouble(error) or is_out_of_memory(error)):
            raise
        raise UnreadableCheckpoint(message_of(error).splitlines()[0]) from error
    context.clocks.restore(vars(facts.clocks), _last_train_seconds(context))
    state.best, state.curve = best, list(facts.curve)
    state.step, state.samples = facts.step, facts.samples
    state.loss_sum, state.loss_steps = facts.loss_sum, facts.loss_steps
    state.attempts = facts.attempts + 1
    return optimizer


def _read_facts(place: Path, run_id: str) -> _Facts | None:
    """None when nothing was saved. Raises whatever a damaged file makes Python raise."""
    if not place.exists():
        return None
    index = place / "state.json"
    if place.is_dir() and not index.exists():  # the first save was cut off
        return None
    raw = json.loads(index.read_bytes())
    seal = raw.pop(_SEAL, None)
    if seal is not None and seal != _seal(raw):
        raise ValueError(f"{index.name} is not as it was written")
    facts = parse(_Facts, {"run": None, "files": {}, "contention": {}} | raw, "state.json")
    if facts.run not in (None, run_id):
        raise ValueError(f"it is of run {facts.run}")
    if set(facts.clocks.seconds) != set(CLOCKS):
        raise ValueError(f"state.json.clocks.seconds: {', '.join(facts.clocks.seconds)} are not the clocks")
    home = place / f"step-{facts.step}"
    for name, digest in facts.files.items():
        if _digest(home / name) != digest:
            raise ValueError(f"{home.name}/{name} is not as it was written")
    best = facts.best and replace(facts.best, facts=raw["best"]["facts"])
    return replace(facts, method=raw["method"], best=best)  # as they were: a method may tell lists from tuples


def _last_train_seconds(context: RunContext) -> float | None:
    """The train clock as the attempt before last reported it."""
    event = last_event(context.folder.events, "step") or {}
    seconds = event.get("train_s")
    return seconds if isinstance(seconds, int | float) else None


def _restore_parts(home: Path, facts: _Facts, context: RunContext) -> tuple[Best | None, torch.optim.Optimizer]:
    best = None
    if facts.best is not None:
        saved = facts.best
        best = Best(saved.step, saved.value, saved.scores, load_file(home / BEST), saved.facts)
    tensors = load_file(home / METHOD)
    moments = torch.load(home / OPTIMIZER, weights_only=True, map_location=context.device)
    context.method.restore(context.scattered(tensors), facts.method)
    load_optimizer(optimizer := build_optimizer(context.method, context.spec.recipe), moments)
    context.timer.restore(facts.timer)
    context.memory.restore(facts.memory)
    context.contention.restore(facts.contention)
    return best, optimizer


def _facts(context: RunContext, state: TrainState) -> dict[str, Any]:
    best = state.best
    return {
        "step": state.step,
        "method": context.method.facts(),
        "curve": [vars(point) for point in state.curve],
        "best": None if best is None else _best_facts(best),
        "loss_sum": state.loss_sum,
        "loss_steps": state.loss_steps,
        "samples": state.samples,
        "attempts": state.attempts,
        "timer": context.timer.state(),
        "memory": context.memory.state(),
        "contention": context.contention.state(),
        "data": _content(context),
        "model": context.loaded.revision,
        "clocks": context.clocks.state(),
    }


def _content(context: RunContext) -> str:
    return context.data.facts["source"]["sha256"]


def _best_facts(best: Best) -> dict[str, Any]:
    scores = {name: vars(quantity) for name, quantity in best.scores.items()}
    return {"step": best.step, "value": best.value, "scores": scores, "facts": dict(best.facts)}


def _seal(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digests(files: Iterable[Path]) -> dict[str, str]:
    return {file.name: _digest(file) for file in sorted(files)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _save(tensors: Any, path: Path) -> None:
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, path)
