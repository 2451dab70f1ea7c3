"""One backbone from a model's card, shared by all entrants, and a synthetic batch for it.

Weights are random and dropout is off: neither changes the cost of a step, and masks would blur what a method saves.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.ledger.dataset_spec import CausalLM, ImageClassification, Prompt, TaskSpec, TextClassification
from harness.ledger.errors import SpecError
from harness.ledger.model_spec import ModelSpec
from harness.models.config import layout_of
from harness.models.families import family_of, imported, is_lm
from harness.models.load import build_from_config
from methods.method import Layout

LABELS = ("0", "1")


@dataclass(frozen=True)
class Backbone:
    """A model that nothing is attached to, and what a step feeds to it."""

    model: nn.Module
    layout: Layout
    inputs: Mapping[str, Tensor]
    targets: Tensor  # (batch,) classes, or (batch, tokens) next tokens
    tokens: int  # of the whole batch

    def twin(self) -> nn.Module:
        """The same model over the same memory: only what a method adds to it costs anything."""
        shared = {id(p): nn.Parameter(p.data, requires_grad=p.requires_grad) for p in self.model.parameters()}
        return copy.deepcopy(self.model, memo=shared).train()

    def loss(self, model: nn.Module) -> Tensor:
        """Cross-entropy in float32, mean over the batch (or over its tokens)."""
        logits = model(**self.inputs).logits.float()
        return F.cross_entropy(logits.flatten(0, -2), self.targets.flatten())


def build_backbone(
    spec: ModelSpec, *, batch: int, length: int, layers: int | None, device: torch.device | str, seed: int
) -> Backbone:
    """The model of the card with random weights on `device` ("meta": shapes alone), and a batch drawn from `seed`."""
    task = _task(spec)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_from_config(_without_dropout(spec), task, layers=layers, device=device)
        config: Any = model.config
        if (most := _most_tokens(config)) is not None and length > most:
            raise SpecError(f"length={length}: {spec.name} has positions for {most} tokens.")
        config.use_cache = False  # as in training
        config.pad_token_id = None  # nothing is padded, so nobody needs to look for padding
        inputs, targets = _batch(config, spec, batch, length)
    move: Callable[[Tensor], Tensor] = lambda tensor: tensor.to(device)  # noqa: E731
    inputs = {name: move(value) for name, value in inputs.items()}
    return Backbone(model, layout_of(spec, task), inputs, move(targets), batch * _tokens(config, spec, length))


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The transformer blocks."""
    count = model.config.num_hidden_layers  # type: ignore[union-attr]
    return next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count)


def _task(spec: ModelSpec) -> TaskSpec:
    """The plainest task of the model's kind: two classes, or the next token. Nothing of it but the head is used."""
    if spec.kind == "image_encoder":
        return ImageClassification(
            kind="image_classification", image="", label="", labels=LABELS, image_size=None, flip=False
        )
    if spec.kind == "decoder":
        prompt = Prompt(before="", context="", after="", cut="left")
        return CausalLM(kind="causal_lm", prompt=prompt, target="", end=False, max_length=1)
    return TextClassification(
        kind="text_classification",
        text=(),
        shorten="first",
        prompt=None,
        label="",
        labels=LABELS,
        aliases={},
        max_length=1,
    )


def _without_dropout(spec: ModelSpec) -> ModelSpec:
    defaults = imported(family_of(spec).config)().to_dict() | dict(spec.config)
    off = {key: 0.0 for key, value in defaults.items() if "drop" in key and isinstance(value, float)}
    return replace(spec, config={**spec.config, **off})


def _batch(config: Any, spec: ModelSpec, batch: int, length: int) -> tuple[dict[str, Tensor], Tensor]:
    if spec.kind == "image_encoder":
        size, channels = config.image_size, config.num_channels
        return {"pixel_values": torch.randn(batch, channels, size, size)}, torch.randint(len(LABELS), (batch,))
    low = 5  # past the special tokens of every family here
    ids = torch.randint(low, config.vocab_size, (batch, length))
    inputs = {"input_ids": ids}  # nothing is padded; a mask of ones would be looked at, and so wait for a GPU
    if is_lm(_task(spec)):
        return inputs, torch.randint(low, config.vocab_size, (batch, length))
    return inputs, torch.randint(len(LABELS), (batch,))


def _most_tokens(config: Any) -> int | None:
    """For how many tokens a model has learned positions; None where any number will do."""
    learned = {"bert": 0, "gpt2": 0, "roberta": 2}  # RoBERTa's first two are for padding
    unused = learned.get(config.model_type)
    return None if unused is None else config.max_position_embeddings - unused


def _tokens(config: Any, spec: ModelSpec, length: int) -> int:
    return (config.image_size // config.patch_size) ** 2 if spec.kind == "image_encoder" else length
