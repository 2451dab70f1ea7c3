"""A model that is ready for a method: what `harness.models.load` gives."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from harness.ledger.errors import DataError
from harness.ledger.model_spec import ModelSpec
from methods.method import Layout


@dataclass(frozen=True)
class LoadedModel:
    """A plain transformers model with all parameters trainable, in eval mode; the loop sets the mode it wants."""

    spec: ModelSpec
    model: nn.Module
    processor: Any  # a fast tokenizer, an ImageProcessor, or a VisionProcessor, which has both
    layout: Layout
    revision: str  # of the weights: a hub commit, "sha256:…" of the file, or "random:<seed>"
    processor_key: str  # encoded rows are shared by models with the same key
    packed: Mapping[str, nn.Module] = field(
        default_factory=dict
    )  # of a quantised model that was read back: what it was
    drawn: frozenset[str] | None = None  # parameters of the head that no checkpoint has; None: all of it
    shared: bool = False  # whether an earlier load of this process packed its weights


def check_base(loaded: LoadedModel, trained_on: object, run_id: str) -> None:
    """Raises DataError when a run's update is of other pretrained weights than those here.

    `trained_on` is the `model_revision` of its record; null, as in the oldest records, says nothing.
    """
    if trained_on not in (None, loaded.revision):
        raise DataError(
            f"run {run_id} was trained on {loaded.spec.name} at {str(trained_on)[:23]}, and here that model is at "
            f"{loaded.revision[:23]}: the update is of other weights. Do the run again in a new store (runs=DIR)."
        )


def with_room_for(loaded: LoadedModel, prompt: int) -> LoadedModel:
    """The same model, with texts that leave `prompt` of its places to learned tokens in front of them."""
    if not prompt:
        return loaded
    tokenizer = copy(loaded.processor)
    tokenizer.model_max_length = tokenizer.model_max_length - prompt
    return replace(loaded, processor=tokenizer, processor_key=f"{loaded.processor_key}-{prompt}")


@dataclass(frozen=True)
class ImageProcessor:
    """Images become (channels, size, size) floats: x / 255, minus the mean, over the deviation."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class VisionProcessor:
    """A tokenizer for the text and what an image becomes: `tokens` soft tokens between a begin and an end."""

    tokenizer: Any  # knows boi_token, image_token and eoi_token
    image: ImageProcessor
    tokens: int

    @property
    def image_text(self) -> str:
        """What stands for the image in the text, as transformers' Gemma3Processor writes it."""
        tokenizer = self.tokenizer
        return f"\n\n{tokenizer.boi_token}{tokenizer.image_token * self.tokens}{tokenizer.eoi_token}\n\n"

    def save_pretrained(self, folder: Path) -> None:
        """As the processor of transformers that reads texts and images alike, with its PIL back end."""
        from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
        from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

        side = {"height": self.image.size, "width": self.image.size}
        image = Gemma3ImageProcessorPil(size=side, image_mean=list(self.image.mean), image_std=list(self.image.std))
        Gemma3Processor(image, self.tokenizer, image_seq_length=self.tokens).save_pretrained(folder)
