"""model=gemma3_micro: a Gemma 3 of 0.3 M parameters that describes the scenes of dataset=shapes_vqa.

Its weights lie beside this file, as made once by `gemma3_micro_build.py`: float differences would give every machine
another base, and every run another record.
"""

from pathlib import Path
from typing import Any

from harness.data.builtin.shapes_vqa import SIDE, words
from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.config import draw_weights, layout_of
from harness.models.loaded import ImageProcessor, LoadedModel
from harness.models.shipped import fill, read_shipped
from harness.models.tokenizer import vision_processor

WEIGHTS = Path(__file__).with_name("gemma3_micro.safetensors")
SHA256 = "c232c4c0b9541feb0885f53f6f03687d243cc2cf376468c192c79626711a2809"
PROCESSOR = ImageProcessor(size=SIDE, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")


def load_gemma3_micro(spec: ModelSpec, task: TaskSpec, seeds: Seeds) -> LoadedModel:
    """Raises NotHere when the weights are not the known ones, DataError when they do not fit the card's config."""
    model = draw_weights(spec, task, seeds)
    fill(model, read_shipped(WEIGHTS, SHA256), spec.name, frozenset({"lm_head.weight"}))  # it is the embedding's tensor
    processor, key = vision_processor(spec, micro_tokenizer(), PROCESSOR, spec.config["mm_tokens_per_image"])
    return LoadedModel(spec, model.eval(), processor, layout_of(spec, task), f"sha256:{SHA256}", key)


def micro_tokenizer() -> Any:
    """A token for each word of the dataset; a text begins with <bos>."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIALS, *words()))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=256,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )
