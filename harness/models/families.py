"""The transformers classes of each family, by address, so that only those of one family are ever imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from harness.ledger.dataset_spec import (
    CausalLM,
    Choice,
    Generation,
    ImageClassification,
    TaskSpec,
    TextClassification,
    VisionLanguage,
)
from harness.ledger.errors import SpecError, nearest
from harness.ledger.model_spec import ModelSpec
from harness.models.first_import import first_import

TINY_VOCAB = 2048  # an upper bound: the tokenizer of size=tiny has at most as many entries
TINY_STRETCH = 2  # its tokens are half as long as a full tokenizer's, so a card's lengths count double (measured: 1.9)


IMAGE_TOKENS = ("<start_of_image>", "<image_soft_token>", "<end_of_image>")  # Gemma 3's, in the order of an image


@dataclass(frozen=True)
class Family:
    """`module:Class` addresses, and what `size=tiny` changes in the config."""

    config: str
    classifier: str | None
    lm: str | None
    tiny: Mapping[str, Any]
    within: str = ""  # `Layout.within`: the language model of one that reads images, whose other parts stay frozen
    renamed: Mapping[str, str] | None = None  # names in checkpoints of a larger model that this one is a part of


def _addresses(package: str, stem: str, task: str = "SequenceClassification") -> tuple[str, str]:
    where = f"transformers.models.{package}"
    return f"{where}.configuration_{package}:{stem}Config", f"{where}.modeling_{package}:{stem}For{task}"


_GEMMA3 = "transformers.models.gemma3"
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_TEXT = _SMALL | {"vocab_size": TINY_VOCAB}
_LLAMA = _TEXT | {"num_key_value_heads": 2, "max_position_embeddings": 2048}
_GEMMA = _LLAMA | {
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 512,
    "sliding_window_pattern": 2,
    "layer_types": None,
}
_GEMMA_VISION = {
    "text_config": _GEMMA | {"vocab_size": TINY_VOCAB + len(IMAGE_TOKENS)},
    "vision_config": {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"image_size": 32, "patch_size": 8},
    },
    "mm_tokens_per_image": 4,
}
_GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024, "vocab_size": TINY_VOCAB}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bert": Family(*_addresses("bert", "Bert"), None, _TEXT),
        "roberta": Family(*_addresses("roberta", "Roberta"), None, _TEXT),
        "deberta-v2": Family(*_addresses("deberta_v2", "DebertaV2"), None, _TEXT),
        "vit": Family(
            *_addresses("vit", "ViT", "ImageClassification"), None, _SMALL | {"image_size": 32, "patch_size": 8}
        ),
        "gpt2": Family(*_addresses("gpt2", "GPT2"), "transformers.models.gpt2.modeling_gpt2:GPT2LMHeadModel", _GPT2),
        "llama": Family(
            *_addresses("llama", "Llama"), "transformers.models.llama.modeling_llama:LlamaForCausalLM", _LLAMA
        ),
        "gemma3_text": Family(
            f"{_GEMMA3}.configuration_gemma3:Gemma3TextConfig",
            f"{_GEMMA3}.modeling_gemma3:Gemma3TextForSequenceClassification",
            f"{_GEMMA3}.modeling_gemma3:Gemma3ForCausalLM",
            _GEMMA,
            renamed={r"^(?:language_model\.model|model\.language_model)\.": "model."},
        ),
        "gemma3": Family(
            f"{_GEMMA3}.configuration_gemma3:Gemma3Config",
            None,
            f"{_GEMMA3}.modeling_gemma3:Gemma3ForConditionalGeneration",
            _GEMMA_VISION,
            within="model.language_model",
        ),
    }
)


def family_of(spec: ModelSpec) -> Family:
    """Raises SpecError for a family that is not in the table."""
    if spec.family not in FAMILIES:
        raise SpecError(f"model.family: unknown choice '{spec.family}'.{nearest(spec.family, FAMILIES)}")
    return FAMILIES[spec.family]


def imported(address: str) -> Any:
    """The class at `module:Class`."""
    module, _, name = address.partition(":")
    with first_import("transformers.modeling_utils"):
        return getattr(import_module(module), name)


def is_lm(task: TaskSpec) -> bool:
    """Whether the task needs next-token logits; every other kind has a head of its own."""
    return isinstance(task, CausalLM | Generation | Choice | VisionLanguage)


def outputs(task: TaskSpec) -> int:
    """Width of the classifier's head."""
    return len(task.labels) if isinstance(task, TextClassification | ImageClassification) else 1


def model_class(spec: ModelSpec, task: TaskSpec) -> Any:
    """Raises SpecError when the family has no class for the task."""
    family = family_of(spec)
    address = family.lm if is_lm(task) else family.classifier
    if address is None:
        lacks = "no language-model head; {} needs a decoder" if is_lm(task) else "no classifier, which {} needs"
        raise SpecError(f"model {spec.name} ({spec.family}) has {lacks.format(task.kind)}.")
    return imported(address)
