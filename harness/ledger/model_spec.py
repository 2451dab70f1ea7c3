"""A model's card, as data: where its weights come from, what it is made of, and how our names map to its modules."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.ledger.errors import SpecError


@dataclass(frozen=True)
class HubModel:
    """Weights and processor from the hub, at a revision (null: not pinned, the resolved one goes into the record)."""

    kind: Literal["hub"]
    id: str
    revision: str | None
    weights: Literal["safetensors", "torch"]  # torch: pytorch_model.bin, read with weights_only


@dataclass(frozen=True)
class BuiltinModel:
    """A model that needs no hub: harness/models has a builder of that name."""

    kind: Literal["builtin"]
    builder: str


@dataclass(frozen=True)
class ModelSpec:
    """One model, resolved."""

    name: str
    source: HubModel | BuiltinModel
    kind: Literal["text_encoder", "image_encoder", "decoder", "vision_language"]
    family: str  # transformers model_type: bert, roberta, deberta-v2, vit, gpt2, llama, gemma3_text, gemma3
    size: Literal["full", "tiny"]  # tiny: same class, 2 layers, random float32 weights, a tokenizer made on the spot
    config: Mapping[str, Any]  # arguments of the family's config class: the full size without any download
    targets: Mapping[str, str]  # canonical name -> module path inside a block; "c_attn[0/3]": a third of a fused one
    head: tuple[str, ...]  # module paths of a classifier's head, which every method trains; never an LM head
    dtype: Literal["float32", "bfloat16"]  # of the frozen weights
    about: Mapping[str, Any] = field(metadata={"science": False})  # label, licence, gate, source
    # of the frozen linear weights, heads apart: 4 bits (NormalFloat, arXiv:2305.14314) or 8
    quantization: Literal["nf4", "int8"] | None = field(default=None, metadata={"neutral": None})
    double_quantization: bool = field(default=False, metadata={"neutral": False})  # NF4's scales in 8 bits (§3)
    # of products with packed weights; null: as the recipe computes
    compute_dtype: Literal["float32", "bfloat16"] | None = field(default=None, metadata={"neutral": None})

    def __post_init__(self) -> None:
        """Raises SpecError when an image of a vision_language model does not become as many tokens as the card says, or
        for a detail of a quantisation that is not there."""
        if self.double_quantization and self.quantization != "nf4":
            raise SpecError("model.double_quantization: only nf4 has scales to quantise; set model.quantization=nf4.")
        if self.compute_dtype and not self.quantization:
            raise SpecError("model.compute_dtype is of a quantised model; set model.quantization to nf4 or int8.")
        if self.kind == "vision_language":
            _check_geometry(self.config)


def _check_geometry(config: Mapping[str, Any]) -> None:
    """Patches are pooled in squares to the image's tokens: both must be square, and the one's side divide the other's.

    transformers builds a model of any numbers, and fails at its first batch.
    """
    vision = config.get("vision_config")
    vision = vision if isinstance(vision, Mapping) else {}
    numbers: dict[str, Any] = {
        "vision_config.image_size": vision.get("image_size"),
        "vision_config.patch_size": vision.get("patch_size"),
        "mm_tokens_per_image": config.get("mm_tokens_per_image"),
    }
    if wrong := [name for name, value in numbers.items() if type(value) is not int or value < 1]:
        raise SpecError(f"model.config: {', '.join(wrong)} must be a whole number of at least 1.")
    size, patch, tokens = numbers.values()
    side, pooled = size // patch, math.isqrt(tokens)
    if size % patch or pooled**2 != tokens or side % pooled:
        raise SpecError(
            f"model.config: an image of {size} pixels in patches of {patch} has {size / patch:g} patches a side, which "
            f"cannot be pooled to {tokens} tokens; mm_tokens_per_image is the square of a divisor of image_size / "
            "patch_size."
        )
