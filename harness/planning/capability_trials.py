"""The trials behind docs/capabilities.md, a column each: a method on a tiny random model, three steps, and a check.

A trial that does not work raises: MethodError where the method is refused, Noted where it does by design what others do
not, anything else where something is broken.
"""

import copy
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.ledger.identity import to_plain
from harness.ledger.paths import to_json
from harness.models.checkpointing import checkpoint_blocks
from harness.planning.sharded_trial import in_two_processes
from harness.planning.tiny_trial import LR, PLACES, STEPS, TinyTrial, attached, place_of
from harness.planning.together import why_not_together
from harness.probe.serving import with_adapters
from harness.training.world import ALONE, World
from methods.errors import MethodError
from methods.export import peft_adapter
from methods.library_types import prompt_length
from methods.spec import MethodSpec, Peft

START = "start unchanged"
_ROUNDING = 1e-5


class Noted(Exception):
    """A sentence: what a method does by design, which breaks nothing."""


def _starts_unchanged(spec: MethodSpec) -> None:
    """Tokens in front move the output; so do first values that a type of the peft library draws, whose own they are."""
    trial = attached(spec, "text")
    plain = trial.backbone.model.eval()
    with torch.no_grad():
        pretrained = plain(**trial.backbone.inputs).logits
    plain.train()
    moved = float((trial.logits() - pretrained).abs().max() / pretrained.abs().max())
    if moved <= _ROUNDING:
        return
    by = f"the output at its start by {moved:.1g} times the largest logit"
    if prompt_length(spec.update):
        raise Noted("learned tokens move the output from the start.")
    if isinstance(spec.update, Peft):
        raise Noted(f"the peft library's {spec.update.type} moves {by}.")
    raise AssertionError(f"it moves {by}")


def _trains(spec: MethodSpec, column: str, **how: Any) -> TinyTrial:
    trial = attached(spec, column, **how)
    before = trial.logits()
    if not trial.total:
        return trial
    trial.train()
    assert not torch.equal(trial.logits(), before), "three steps move nothing"
    return trial


def _checkpoints(spec: MethodSpec) -> None:
    plain, other = attached(spec, "causal LM"), attached(spec, "causal LM", checkpointing=True)
    checkpoint_blocks(other.model)
    for trial in (plain, other):
        torch.manual_seed(0)
        trial.backward()
    pairs = zip(*([p.grad for g in t.method.groups(1, 1, 0) for p in g["params"]] for t in (plain, other)), strict=True)
    assert all(_close(one, two) for one, two in pairs if one is not None), "other gradients"


def _merges(spec: MethodSpec) -> None:
    trial = _trains(spec, "text")
    trained = trial.logits()
    trial.method.merge()
    assert _close(trial.logits(), trained), "another function after the merge"


def _exports(spec: MethodSpec) -> None:
    trial = _trains(spec, "text")
    config, tensors = peft_adapter(trial.method)
    with tempfile.TemporaryDirectory() as place:
        save_file(tensors, Path(place) / "adapter_model.safetensors")
        (Path(place) / "adapter_config.json").write_text(to_json(config | {"task_type": "SEQ_CLS"}))
        loaded: Any = with_adapters(trial.backbone.model, {"default": Path(place)})
    with torch.no_grad():
        assert _close(loaded(**trial.backbone.inputs).logits, trial.logits()), "another function in peft"


def _resumes(spec: MethodSpec) -> None:
    one, two = _trains(spec, "text"), attached(spec, "text", seed=5)
    two.method.restore({name: tensor.clone() for name, tensor in one.method.tensors().items()}, one.method.facts())
    assert torch.equal(one.logits(), two.logits()), "another function after the restart"


def _shards(spec: MethodSpec) -> None:
    model, dataset, recipe, _ = place_of("text")
    run = {"method": spec, "model": model, "dataset": dataset, "recipe": recipe}
    if why := why_not_together(to_plain(run), "fsdp"):
        raise MethodError(why)
    alone = _trained_slowly(spec, ALONE)
    assert _close(in_two_processes(partial(_trained_slowly, spec)), alone), "another function than of one process"


def _trained_slowly(spec: MethodSpec, world: World) -> Tensor:
    """Logits after three steps; a larger eps, as AdamW makes a whole step of a gradient that is only rounding."""
    trial = attached(spec, "text", world=world)
    if trial.total:
        trial.train(eps=1e-5)
    return trial.logits()


def _plugs_in(spec: MethodSpec) -> None:
    import peft

    import methods.library as library

    if (config := getattr(library, spec.name, None)) is None:
        raise MethodError("methods.library has no function of that name.")
    _, _, _, backbone = place_of("causal LM")
    model: Any = peft.get_peft_model(copy.deepcopy(backbone.model), config(r=4, target_modules=["q_proj", "v_proj"]))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, weight_decay=0.0)
    library.chain_step(model, 0, STEPS)
    before = backbone.loss(model).item()
    for step in range(1, STEPS + 1):
        backbone.loss(model).backward()
        optimizer.step()
        library.chain_step(model, step, STEPS, optimizer)
        optimizer.zero_grad()
    assert backbone.loss(model).item() != before, "three steps move nothing"


def _close(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() <= 1e-4 * one.abs().max().clamp_min(1e-3))


COLUMNS: Mapping[str, Callable[[MethodSpec], object]] = {
    START: _starts_unchanged,
    **{column: partial(_trains, column=column) for column in PLACES},
    "bf16": partial(_trains, column="text", dtype=torch.bfloat16),
    "checkpointing": _checkpoints,
    "merge": _merges,
    "export": _exports,
    "sharded": _shards,
    "resume": _resumes,
    "plugin": _plugs_in,
}
