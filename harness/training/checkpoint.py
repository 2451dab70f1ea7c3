"""The state of a run on disk while it runs: written aside, named last, so that a killed run goes on from a whole one.

Tensors are safetensors; the optimizer's state is read back with `weights_only=True`. Nothing is unpickled.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.ledger.events import last_event
from harness.ledger.paths import flush, to_json, write_whole
from harness.ledger.quantity import Measured
from harness.ledger.record import Point
from harness.training.context import Best, RunContext, TrainState
from harness.training.optimizer import build_optimizer, load_optimizer


def save_checkpoint(context: RunContext, state: TrainState, optimizer: torch.optim.Optimizer) -> None:
    """All that a restart needs: tensors and facts of the method, optimizer, best checkpoint, curve, clocks."""
    folder = context.folder
    home = folder.checkpoint / f"step-{state.step}"
    home.mkdir(parents=True, exist_ok=True)
    _save(context.method.tensors(), home / "method.safetensors")
    torch.save(optimizer.state_dict(), home / "optimizer.pt")
    if state.best is not None:
        _save(state.best.tensors, home / "best.safetensors")
    flush(home.iterdir())
    write_whole(
        folder.checkpoint / "state.json", to_json(_facts(context, state))
    )  # the old checkpoint counts until here
    for old in folder.checkpoint.glob("step-*"):
        if old != home:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(context: RunContext, state: TrainState) -> torch.optim.Optimizer | None:
    """Put the newest whole checkpoint into the parts and `state`; None when there is none.

    Returns the optimizer, made for the method as it was restored: its parameters may have another rank by then.
    """
    folder = context.folder
    index = folder.checkpoint / "state.json"
    if not index.is_file():
        return None
    facts = json.loads(index.read_bytes())
    home = folder.checkpoint / f"step-{facts['step']}"
    if not home.is_dir():  # removed by one who was suspended in the middle of a save, and whose run was taken over
        return None
    context.method.restore(load_file(home / "method.safetensors"), facts["method"])
    optimizer = build_optimizer(context.method, context.spec.recipe)
    load_optimizer(optimizer, torch.load(home / "optimizer.pt", weights_only=True, map_location=context.device))
    context.timer.restore(facts["timer"])
    context.memory.restore(facts["memory"])
    context.contention.restore(facts.get("contention", {}))  # earlier versions saved none
    seen = last_event(folder.events, "step")
    context.clocks.restore(facts["clocks"], seen["train_s"] if seen else None)
    if best := facts["best"]:
        scores = {name: Measured(**raw) for name, raw in best["scores"].items()}
        tensors = load_file(home / "best.safetensors")
        state.best = Best(best["step"], best["value"], scores, tensors, best["facts"])
    state.curve = [Point(**point) for point in facts["curve"]]
    state.step, state.samples = facts["step"], facts["samples"]
    state.loss_sum, state.loss_steps = facts["loss_sum"], facts["loss_steps"]
    state.attempts = facts["attempts"] + 1
    return optimizer


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
        "clocks": context.clocks.state(),
    }


def _best_facts(best: Best) -> dict[str, Any]:
    scores = {name: vars(quantity) for name, quantity in best.scores.items()}
    return {"step": best.step, "value": best.value, "scores": scores, "facts": dict(best.facts)}


def _save(tensors: Any, path: Path) -> None:
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, path)
