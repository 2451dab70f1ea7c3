"""size=tiny: the full model's class, two layers, random weights from the seed, a tokenizer made on the spot.

Every family then runs in seconds on a CPU, with no download. Its scores mean nothing; its mechanics are the real ones.
"""

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.paths import write_whole
from harness.ledger.seeds import Seeds
from harness.models.config import draw_weights, layout_of
from harness.models.families import IMAGE_TOKENS, TINY_STRETCH, TINY_VOCAB
from harness.models.loaded import ImageProcessor, LoadedModel
from harness.models.tokenizer import tokenizer_key, vision_processor

VERSION = 1
MODULES = (
    "email",
    "unittest",
    "logging",
    "tarfile",
    "inspect",
    "typing",
    "threading",
)  # their docstrings teach the BPE
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<|end|>")
PAIRS = ("bert", "deberta-v2")  # families that mark the second text by token_type_ids


def load_tiny(spec: ModelSpec, task: TaskSpec, seeds: Seeds, cache: Path) -> LoadedModel:
    """Base weights from seeds.of("init", "model"), head from seeds.of("init", "head"); always float32."""
    revision = f"random:{seeds.of('init', 'model')}"
    if spec.kind == "image_encoder":
        model = draw_weights(spec, task, seeds)
        config: Any = model.config
        processor = ImageProcessor(
            config.image_size, config.num_channels, (0.5,) * config.num_channels, (0.5,) * config.num_channels
        )
        return LoadedModel(
            spec, model, processor, layout_of(spec, task), revision, f"image-{processor.size}-{processor.channels}"
        )
    tokenizer = tiny_tokenizer(spec, cache)
    if spec.kind == "vision_language":
        return _tiny_vision(spec, task, seeds, tokenizer, revision)
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model = draw_weights(spec, task, seeds, **ids)
    return LoadedModel(spec, model, tokenizer, layout_of(spec, task), revision, tokenizer_key(spec, tokenizer))


def _tiny_vision(spec: ModelSpec, task: TaskSpec, seeds: Seeds, tokenizer: Any, revision: str) -> LoadedModel:
    begin, soft, end = tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS))
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    model = draw_weights(
        spec, task, seeds, text_config=ids, boi_token_index=begin, image_token_index=soft, eoi_token_index=end
    )
    config: Any = model.config
    image = ImageProcessor(config.vision_config.image_size, 3, (0.5,) * 3, (0.5,) * 3)
    processor, key = vision_processor(spec, tokenizer, image, config.mm_tokens_per_image)
    return LoadedModel(spec, model, processor, layout_of(spec, task), revision, key)


def tiny_tokenizer(spec: ModelSpec, cache: Path) -> Any:
    """A byte-level BPE of at most TINY_VOCAB tokens, with the special tokens of the kind of model.

    Its `stretch` says how many of its tokens stand for one that the cards count in.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(_trained(cache))
    cls, sep = backend.token_to_id("[CLS]"), backend.token_to_id("[SEP]")
    if spec.kind == "text_encoder":
        backend.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
        )
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if spec.family in PAIRS else [])
    names: dict[str, Any] = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    if spec.kind == "vision_language":
        names |= {
            "extra_special_tokens": dict(zip(("boi_token", "image_token", "eoi_token"), IMAGE_TOKENS, strict=True))
        }
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=512 if spec.kind == "text_encoder" else 1024,
        model_input_names=inputs,
        eos_token="<|end|>",
        bos_token="<|end|>",
        **names,
    )
    tokenizer.stretch = TINY_STRETCH
    return tokenizer


def _trained(cache: Path) -> str:
    """The tokenizer as JSON; trained once for each Python version, as its text comes from the standard library."""
    key = hashlib.sha256(f"{VERSION}/{TINY_VOCAB}/{MODULES}/{sys.version}".encode()).hexdigest()[:16]
    path = cache / "models" / f"tiny-tokenizer-{key}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _train())
    return path.read_text(encoding="utf-8")


@cache
def _train() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCAB, special_tokens=[*SPECIALS], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tokenizer.to_str()


def _texts() -> Iterator[str]:
    from harness.data.builtin.stdlib_docs import docstrings, sources

    for module in MODULES:
        for path in sources(module):
            yield from docstrings(path)
