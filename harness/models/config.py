"""From a model's card to its config object, its layout and, where there are no pretrained weights, its random ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.identity import to_plain
from harness.ledger.model_spec import ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.families import family_of, imported, is_lm, model_class, outputs
from methods.method import Layout

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_config(spec: ModelSpec, task: TaskSpec, **changes: Any) -> Any:
    """The family's config object: the card's values, `size=tiny` over them, then `changes`."""
    family = family_of(spec)
    values = merged(merged(to_plain(spec.config), family.tiny if spec.size == "tiny" else {}), changes)
    config = imported(family.config)(**values)
    text_config(config).use_cache = False  # keys and values of past tokens serve generation, and would count as memory
    if not is_lm(task):
        config.num_labels = outputs(task)
        config.problem_type = None  # the loss is ours: the model is never given labels
    return config


def text_config(config: Any) -> Any:
    """Of a model that reads images too: the part of its config that is about its language model."""
    return getattr(config, "text_config", config)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` over them; mappings within mappings are merged, too."""
    both = {
        key: merged(values[key], change)
        for key, change in changes.items()
        if isinstance(change, Mapping) and isinstance(values.get(key), Mapping)
    }
    return {**values, **changes, **both}


def layout_of(spec: ModelSpec, task: TaskSpec) -> Layout:
    """What a method may know; an LM head is never trained apart (study, §2.1: tied, or frozen for PEFT)."""
    head = () if is_lm(task) else spec.head
    return Layout(targets=dict(spec.targets), head=head, within=family_of(spec).within)


def draw_weights(spec: ModelSpec, task: TaskSpec, seeds: Seeds, **changes: Any) -> nn.Module:
    """A float32 model of the card's config (with `changes`), its weights from their own stream."""
    config = make_config(spec, task, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.of("init", "model"))
        model = model_class(spec, task)._from_config(config, dtype=torch.float32).eval()
    draw_projector(model, seeds.of("init", "projector"))
    return model


def draw_projector(model: nn.Module, seed: int) -> None:
    """Redraw the projection of a Gemma 3 from image to text, N(0, 1 / width); other models have none.

    transformers leaves it at zero: no image changes anything then, and no method that leaves it frozen learns to see.
    """
    for module in model.modules():
        weight = getattr(module, "mm_input_projection_weight", None)
        if isinstance(weight, nn.Parameter):
            draw = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
            weight.data.copy_(draw * weight.shape[0] ** -0.5)
