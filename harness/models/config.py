"""From a model's card to its config object, its layout and, where there are no pretrained weights, its random ones."""

from typing import Any

import torch
from torch import nn

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.identity import to_plain
from harness.ledger.model_spec import ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.families import family_of, imported, is_lm, model_class, outputs
from harness.models.head import draw_head
from methods.method import Layout

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_config(spec: ModelSpec, task: TaskSpec, **changes: Any) -> Any:
    """The family's config object: the card's values, `size=tiny` over them, then `changes`."""
    family = family_of(spec)
    values = to_plain(spec.config) | (dict(family.tiny) if spec.size == "tiny" else {}) | changes
    config = imported(family.config)(**values)
    config.use_cache = False  # keys and values of past tokens serve generation only, and would count as memory
    if not is_lm(task):
        config.num_labels = outputs(task)
        config.problem_type = None  # the loss is ours: the model is never given labels
    return config


def layout_of(spec: ModelSpec, task: TaskSpec) -> Layout:
    """What a method may know; an LM head is never trained apart (study, §2.1: tied, or frozen for PEFT)."""
    return Layout(targets=dict(spec.targets), head=() if is_lm(task) else spec.head)


def draw_weights(spec: ModelSpec, task: TaskSpec, seeds: Seeds, **changes: Any) -> nn.Module:
    """A float32 model of the card's config (with `changes`), base weights and head each from their own stream."""
    config = make_config(spec, task, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.of("init", "model"))
        model = model_class(spec, task)._from_config(config, dtype=torch.float32).eval()
    draw_head(model, layout_of(spec, task).head, seeds.of("init", "head"))
    return model
