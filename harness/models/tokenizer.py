"""Tokenizers: fast ones only, read from files, with a padding token and a key for the cache of encoded rows."""

import hashlib
from pathlib import Path
from typing import Any

from harness.ledger.errors import DataError, NotHere
from harness.ledger.model_spec import ModelSpec
from harness.models.loaded import ImageProcessor, VisionProcessor


def read_tokenizer(spec: ModelSpec, folder: Path) -> Any:
    """The fast tokenizer of a folder in the hub's layout; a missing padding token becomes the end-of-text token."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise NotHere(f"model {spec.name}: no tokenizer in {folder}: {str(error).splitlines()[0]}") from error
    if not tokenizer.is_fast:
        raise DataError(
            f"model {spec.name}: {folder} has no fast tokenizer (tokenizer.json), and no other kind is supported."
        )
    return with_padding(tokenizer)


def with_padding(tokenizer: Any) -> Any:
    """In place: pad = end of text where there is no padding token, as for GPT-2 and Llama (study, §2.1)."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenizer_key(spec: ModelSpec, tokenizer: Any) -> str:
    """Equal for models that encode every row alike: same tokenizer, same kind of model, same longest input."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    longest = f"{tokenizer.model_max_length}/{getattr(tokenizer, 'stretch', 1)}"
    settings = f"{spec.kind}/{longest}/{tokenizer.model_input_names}/{tokenizer.eos_token_id}"
    text = f"{settings}/{tokenizer.backend_tokenizer.to_str()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def vision_processor(
    spec: ModelSpec, tokenizer: Any, image: ImageProcessor, tokens: int
) -> tuple[VisionProcessor, str]:
    """The processor of a model that reads images and texts, and its key. Raises DataError for a tokenizer that has no
    tokens for an image."""
    if absent := [name for name in ("boi_token", "image_token", "eoi_token") if not getattr(tokenizer, name, None)]:
        raise DataError(f"model {spec.name}: its tokenizer names no {', '.join(absent)}; an image needs them all.")
    return VisionProcessor(tokenizer, image, tokens), f"{tokenizer_key(spec, tokenizer)}-image-{image.size}-{tokens}"
