"""A model that is ready for a method: what `harness.models.load` gives."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from harness.ledger.model_spec import ModelSpec
from methods.method import Layout


@dataclass(frozen=True)
class LoadedModel:
    """A plain transformers model with all parameters trainable, in eval mode; the loop sets the mode it wants."""

    spec: ModelSpec
    model: nn.Module
    processor: Any  # a fast tokenizer, or an ImageProcessor
    layout: Layout
    revision: str  # of the weights: a hub commit, "sha256:…" of the file, or "random:<seed>"
    processor_key: str  # encoded rows are shared by models with the same key


@dataclass(frozen=True)
class ImageProcessor:
    """Images become (channels, size, size) floats: x / 255, minus the mean, over the deviation."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
