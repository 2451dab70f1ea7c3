"""What one training step of a run would hold and compute on a GPU at full size, found on shapes: nothing is loaded.

Blocks are alike, so models of one and of two blocks are counted, and the rest follows on a straight line; where ranks
differ by layer, all are counted. Every sequence is as long as the dataset's card allows and every token of it a target,
so real batches hold less. A chain beside packed or sharded weights is at its last link, when it keeps the most.
Precision is the recipe's on a GPU that has bfloat16: `auto` counts as bfloat16 autocast.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.dataset_spec import ImageClassification, TaskSpec, VisionLanguage
from harness.ledger.errors import SpecError
from harness.ledger.spec import RunSpec
from harness.measure.flops import flop_counter
from harness.measure.memory_breakdown import measure_ledger, storage_bytes
from harness.measure.meta_device import cuda_semantics, meta_hints
from harness.models.blocks import blocks
from harness.models.checkpointing import checkpoint_blocks
from harness.models.config import layout_of, make_config, text_config
from harness.models.families import TINY_STRETCH, is_lm
from harness.models.load import build_from_config
from harness.planning.beside import bytes_beside_shares, keep_beside
from harness.planning.step_cost_cache import StepCost, reads_last_token, rows_of
from harness.probe.backbone import Backbone
from harness.probe.entrants import Entrant, method_entrant
from harness.training.adafactor import adafactor
from methods.errors import MethodError
from methods.library_types import prompt_length
from methods.ranks import largest, names_layers
from methods.spec import Constant, MethodSpec


def step_cost(spec: RunSpec) -> StepCost:
    """The ledger of a run from its spec alone, in well under a second for a model of any size.

    Beside the roles of `Record.ledger`, with gradient checkpointing: what the backward pass keeps of the one block that
    it has computed again ("recomputed_block").
    """
    spec = replace(spec, method=_at_its_largest(spec.method))
    blocks = text_config(make_config(spec.model, spec.dataset.task)).num_hidden_layers
    try:
        total = _counted(spec, blocks) if names_layers(spec.method.ranks) else _on_a_line(spec, blocks)
        block = _block(spec) if spec.recipe.gradient_checkpointing else {}
    except (MethodError, SpecError, RuntimeError, ValueError) as error:  # the last two: a model's own, on shapes alone
        return StepCost({}, None, f"cannot be counted without weights: {str(error).splitlines()[0]}")
    flops, *shared = (total.pop(name) for name in ("flops", "block", "rest", "beside"))
    return StepCost(total | block, flops * spec.recipe.accumulate, None, *shared)


def _at_its_largest(method: MethodSpec) -> MethodSpec:
    """At the rank that a growing one ends with, from the start."""
    if (most := getattr(method.schedule, "up_to", None)) is None:
        return method
    return replace(method, update=replace(method.update, rank=most), ranks={}, schedule=Constant("constant"))  # type: ignore[call-arg]


def _on_a_line(spec: RunSpec, blocks: int) -> dict[str, float]:
    """Of that many blocks, from one and two."""
    one_block, two_blocks = (_counted(spec, layers) for layers in (1, 2))
    return {role: value + (blocks - 1) * (two_blocks[role] - value) for role, value in one_block.items()}


def _block(spec: RunSpec) -> dict[str, float]:
    """Bytes that one block keeps for the backward pass when nothing is checkpointed; with its largest ranks."""
    method = replace(spec.method, ranks=largest(spec.method.ranks))
    plain = replace(spec, method=method, recipe=replace(spec.recipe, gradient_checkpointing=False))
    one_block, two_blocks = (_counted(plain, layers)["saved_for_backward"] for layers in (1, 2))
    return {"recomputed_block": two_blocks - one_block}


def _counted(spec: RunSpec, layers: int) -> dict[str, float]:
    """Bytes by role, and FLOPs, of one micro-batch through that many blocks; and what sharding would gather or keep."""
    with meta_hints(), torch.random.fork_rng(devices=[]):
        entrant = _entrant(spec, layers)
        counter = flop_counter()

        def forward_backward() -> Tensor:
            with counter:
                _read_images(entrant.model, spec)
                return entrant.forward_backward()

        ledger = measure_ledger(entrant.model, forward_backward, entrant.optimizer)
        counted = {"flops": counter.get_total_flops(), "beside": bytes_beside_shares(spec, layers)}
    shared = _shared(entrant.model, spec.method.update.kind == "full")
    return {role: quantity.value for role, quantity in ledger.items()} | counted | shared


def _shared(model: nn.Module, trains_all: bool) -> dict[str, float]:
    """Bytes of the weights that `training.sharding` would share out: of the largest block, and outside the blocks."""
    own = [p for p in model.parameters() if trains_all or not p.requires_grad]
    sizes = [storage_bytes(set(own) & set(block.parameters())) for block in blocks(model)]
    return {"block": max(sizes, default=0), "rest": storage_bytes(own) - sum(sizes)}


@torch.no_grad()
def _read_images(model: Any, spec: RunSpec) -> None:
    """A frozen vision tower reads the images of a micro-batch; it keeps nothing for the backward pass."""
    if isinstance(spec.dataset.task, VisionLanguage):
        config = model.config.vision_config
        shape = (spec.recipe.batch_size, config.num_channels, config.image_size, config.image_size)
        model.get_image_features(torch.empty(shape, dtype=model.dtype, device="meta"), return_dict=True)


def _entrant(spec: RunSpec, layers: int) -> Entrant:
    task = spec.dataset.task
    model = build_from_config(spec.model, task, layers=layers, device="meta")
    if is_lm(task) or spec.model.kind != "decoder":  # else the last token before the padding is looked for
        model.config.pad_token_id = None  # type: ignore[union-attr]  # nothing is padded, so nobody need look
    stretch = TINY_STRETCH if spec.model.size == "tiny" else 1
    inputs, targets = _batch(model, task, spec.recipe.batch_size, stretch, prompt_length(spec.method.update))
    backbone = Backbone(model, layout_of(spec.model, task), inputs, targets, targets.numel())
    cuda = partial(cuda_semantics, bfloat16=spec.recipe.precision != "float32")
    entrant = method_entrant(spec.method, backbone, cuda, spec.seed)
    if spec.model.quantization:
        keep_beside(entrant.model, spec)
    if spec.recipe.optimizer == "adafactor":
        groups = [{key: group[key] for key in ("name", "params")} for group in entrant.optimizer.param_groups]
        entrant = replace(entrant, optimizer=adafactor(groups))
    if spec.recipe.gradient_checkpointing:
        checkpoint_blocks(entrant.model, context_fn=lambda: (nullcontext(), cuda()))
    return entrant


def _batch(model: nn.Module, task: TaskSpec, rows: int, stretch: int, prompt: int) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs and targets of one micro-batch, as shapes; `stretch`: tokens for each that the card counts; `prompt`: the
    places that learned tokens take. No padding."""
    config: Any = model.config
    if isinstance(task, ImageClassification):
        size = config.image_size
        return {"pixel_values": torch.empty(rows, config.num_channels, size, size, device="meta")}, _classes(rows)
    rows *= rows_of(task)
    length = task.max_length * stretch + _image_tokens(config)
    length = min(length, _longest(text_config(config)) - prompt)
    ids = torch.zeros(rows, length, dtype=torch.long, device="meta")
    if reads_last_token(task):
        return {"input_ids": ids, "logits_to_keep": torch.tensor([ids.shape[1] - 1], device="meta")}, _classes(rows)
    return {"input_ids": ids}, torch.zeros_like(ids) if is_lm(task) else _classes(rows)


def _image_tokens(config: Any) -> int:
    """Tokens of a sequence that stand for its image, with the marks and the blank lines around them; as text they cost
    the same, and what they are is none of a shape."""
    return config.mm_tokens_per_image + 4 if hasattr(config, "mm_tokens_per_image") else 0


def _classes(rows: int) -> Tensor:
    return torch.zeros(rows, dtype=torch.long, device="meta")


def _longest(config: Any) -> int:
    """Positions a model has; those of the RoBERTa family start behind its padding index."""
    return config.max_position_embeddings - (2 if config.model_type == "roberta" else 0)
