"""A model's card, as data: where its weights come from, what it is made of, and how our names map to its modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
    kind: Literal["text_encoder", "image_encoder", "decoder"]
    family: str  # transformers model_type: bert, roberta, deberta-v2, vit, gpt2, llama
    size: Literal["full", "tiny"]  # tiny: same class, 2 layers, random float32 weights, a tokenizer made on the spot
    config: Mapping[str, Any]  # arguments of the family's config class: the full size without any download
    targets: Mapping[str, str]  # canonical name -> module path inside a block; "c_attn[0/3]": a third of a fused one
    head: tuple[str, ...]  # module paths of a classifier's head, which every method trains; never an LM head
    dtype: Literal["float32", "bfloat16"]  # of the frozen weights
    about: Mapping[str, Any] = field(metadata={"science": False})  # label, licence, gate, source
