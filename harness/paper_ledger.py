"""What one training step of a run would hold and compute at full size, found on the meta device: nothing is loaded.

Blocks are alike, so models of one and of two blocks are counted, and the rest follows on a straight line. Every
sequence is as long as the dataset's card allows, so real batches hold less. Autocast is not followed: float32 weights
count with float32 activations, which is an upper bound under bfloat16 autocast.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.flops import step_flops
from harness.ledger.dataset_spec import Choice, ImageClassification, TaskSpec
from harness.ledger.errors import SpecError
from harness.ledger.spec import RunSpec
from harness.ledger_bytes import measure_ledger
from harness.models.config import layout_of, make_config
from harness.models.families import is_lm
from harness.models.load import build_from_config
from harness.probe.backbone import Backbone
from harness.probe.entrants import Entrant, method_entrant
from harness.probe.on_shapes import on_shapes
from methods.errors import MethodError


@dataclass(frozen=True)
class PaperLedger:
    """bytes: by role, of one micro-batch. flops: of one optimizer step. why: there is neither, and why not."""

    bytes: dict[str, float]
    flops: float | None
    why: str | None = None


def paper_ledger(spec: RunSpec) -> PaperLedger:
    """The ledger of a run from its spec alone, in about a second for a model of any size."""
    blocks = make_config(spec.model, spec.dataset.task).num_hidden_layers
    try:
        one, two = (_counted(spec, layers) for layers in (1, 2))
    except (MethodError, SpecError, NotImplementedError, RuntimeError, ValueError) as error:
        return PaperLedger({}, None, f"cannot be counted without weights: {str(error).splitlines()[0]}")
    found = {role: value + (blocks - 1) * (two[role] - value) for role, value in one.items()}
    flops = found.pop("flops")
    return PaperLedger(found, flops * spec.recipe.accumulate)


def _counted(spec: RunSpec, layers: int) -> dict[str, float]:
    """Bytes by role, and FLOPs, of one micro-batch through that many blocks."""
    with on_shapes(), torch.random.fork_rng(devices=[]):
        entrant = _entrant(spec, layers)
        parameters = [p for group in entrant.optimizer.param_groups for p in group["params"]]
        ledger = measure_ledger(entrant.model, entrant.forward_backward, entrant.optimizer)
        flops = step_flops(entrant.model, entrant.forward_backward, parameters)
    return {role: quantity.value for role, quantity in ledger.items()} | {"flops": flops.value}


def _entrant(spec: RunSpec, layers: int) -> Entrant:
    task = spec.dataset.task
    model = build_from_config(spec.model, task, layers=layers, device="meta")
    if is_lm(task) or spec.model.kind != "decoder":  # else the last token before the padding is looked for
        model.config.pad_token_id = None  # type: ignore[union-attr]  # nothing is padded, so nobody need look
    inputs, targets = _batch(model, task, spec.recipe.batch_size)
    backbone = Backbone(model, layout_of(spec.model, task), inputs, targets, targets.numel())
    entrant = method_entrant(spec.method, backbone, nullcontext, spec.seed)
    if spec.recipe.gradient_checkpointing:
        switch: Any = entrant.model
        switch.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return entrant


def _batch(model: nn.Module, task: TaskSpec, rows: int) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs and targets of one micro-batch, as shapes. Nothing is padded."""
    config: Any = model.config
    if isinstance(task, ImageClassification):
        size = config.image_size
        return {"pixel_values": torch.empty(rows, config.num_channels, size, size, device="meta")}, _classes(rows)
    rows *= len(task.candidates) if isinstance(task, Choice) else 1
    ids = torch.zeros(rows, min(task.max_length, _longest(config)), dtype=torch.long, device="meta")
    return {"input_ids": ids}, torch.zeros_like(ids) if is_lm(task) else _classes(rows)


def _classes(rows: int) -> Tensor:
    return torch.zeros(rows, dtype=torch.long, device="meta")


def _longest(config: Any) -> int:
    """Positions a model has; those of the RoBERTa family start behind its padding index."""
    return config.max_position_embeddings - (2 if config.model_type == "roberta" else 0)
