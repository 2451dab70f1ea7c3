"""What a model needs beside its weights so that the libraries alone can use it: labels, a config that generates, a
processor, and the task as data.

Image loaders give three channels, and their models positions for one size: a ViT of one channel, or one that was
trained at a size of its own, is rewritten as the same function of such an image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.ledger.dataset_spec import ImageClassification, Regression, TaskSpec, TextClassification
from harness.ledger.identity import to_plain
from harness.models.config import text_config
from harness.models.families import is_lm
from harness.models.loaded import ImageProcessor, LoadedModel

GREY = (0.299, 0.587, 0.114)  # how much of red, green and blue is in a grey value: ITU-R 601, as PIL has it
TASK = "task.json"
_HERE = ("aliases", "image_size", "flip", "shorten")  # keys of a task that are about the data files, or are in a config


def complete(loaded: LoadedModel, task: TaskSpec) -> None:
    """In place: the config names the labels and keeps keys and values of past tokens, as at the hub."""
    model: Any = loaded.model
    text_config(model.config).use_cache = True
    if isinstance(task, TextClassification | ImageClassification):
        model.config.id2label = dict(enumerate(task.labels))
        model.config.label2id = {label: number for number, label in enumerate(task.labels)}
        model.config.problem_type = "single_label_classification"
    if isinstance(task, Regression):
        model.config.problem_type = "regression"
    if isinstance(task, ImageClassification):
        _read_any_image(model, loaded.processor, task)
    if is_lm(task):
        model.generation_config = _greedy(_tokenizer(loaded.processor), getattr(task, "max_new_tokens", None))


def save_processor(loaded: LoadedModel, task: TaskSpec, folder: Path) -> None:
    """Tokenizer, image processor or both, and `task.json`."""
    processor = loaded.processor
    if isinstance(processor, ImageProcessor):
        size = task.image_size if isinstance(task, ImageClassification) else None
        processor = _image_processor(processor, size or processor.size)
    elif isinstance(task, TextClassification | Regression):
        stretch = getattr(processor, "stretch", 1)
        processor.model_max_length = min(processor.model_max_length, stretch * task.max_length)
    else:
        _tokenizer(processor).padding_side = "left"  # where writing begins
    processor.save_pretrained(folder)


def task_of(task: TaskSpec) -> Mapping[str, Any]:
    """Labels, prompt, target and lengths, as plain data: what a model's own config has no place for."""
    return {key: value for key, value in to_plain(task).items() if key not in _HERE and value not in (None, [], {})}


def _tokenizer(processor: Any) -> Any:
    return getattr(processor, "tokenizer", processor)


def _greedy(tokenizer: Any, new_tokens: int | None) -> Any:
    """As the harness writes: the likeliest token each time."""
    from transformers import GenerationConfig

    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    length = {} if new_tokens is None else {"max_new_tokens": new_tokens}
    return GenerationConfig(do_sample=False, use_cache=True, **ids, **length)


def _image_processor(processor: ImageProcessor, size: int) -> Any:
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    mean, std = (value * 3 if processor.channels == 1 else value for value in (processor.mean, processor.std))
    return ViTImageProcessorPil(size={"height": size, "width": size}, image_mean=list(mean), image_std=list(std))


@torch.no_grad()
def _read_any_image(model: Any, processor: ImageProcessor, task: ImageClassification) -> None:
    embeddings = next(module for module in model.modules() if hasattr(module, "position_embeddings"))
    if (size := task.image_size or processor.size) != processor.size:
        patches = embeddings.patch_embeddings
        side = size // patches.patch_size[0]
        blank = embeddings.position_embeddings.new_empty(1, side * side + 1, model.config.hidden_size)
        places = embeddings.interpolate_pos_encoding(blank, size, size)
        embeddings.position_embeddings = nn.Parameter(places.clone())
        model.config.image_size, patches.image_size, embeddings.image_size = size, (size, size), (size, size)
    if processor.channels == 1:
        _read_colour(model, embeddings.patch_embeddings)


def _read_colour(model: Any, patches: Any) -> None:
    """The filter of grey, shared out over red, green and blue."""
    filters = patches.projection
    shares = torch.tensor(GREY, dtype=filters.weight.dtype, device=filters.weight.device)
    filters.weight = nn.Parameter(filters.weight * shares[:, None, None])
    filters.in_channels = patches.num_channels = model.config.num_channels = len(GREY)
