"""Models by hub id: under PEFTLAB_MIRROR first, then the hub's cache, then the hub. No code and no free pickles."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.data.hub import model_snapshot
from harness.data.layout import mirrored
from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import DataError
from harness.ledger.model_spec import HubModel, ModelSpec
from harness.models.config import layout_of
from harness.models.files import load_weights
from harness.models.loaded import ImageProcessor, LoadedModel
from harness.models.tokenizer import read_tokenizer, tokenizer_key, vision_processor


def load_hub(spec: ModelSpec, source: HubModel, task: TaskSpec, folder: Path, revision: str) -> LoadedModel:
    """From what `find_weights` gave."""
    processor, key = _processor(spec, folder)
    changes = {"pad_token_id": processor.pad_token_id} if spec.kind in ("text_encoder", "decoder") else {}
    model, drawn = load_weights(spec, task, folder, safetensors=source.weights == "safetensors", **changes)
    return LoadedModel(
        spec=spec,
        model=model,
        processor=processor,
        layout=layout_of(spec, task),
        revision=revision,
        processor_key=key,
        drawn=drawn,
    )


def find_weights(spec: ModelSpec, source: HubModel) -> tuple[Path, str]:
    """Their folder and revision. Raises DataError in one sentence when they are not here and cannot be fetched now."""
    folder = mirrored(source.id)
    if folder is not None and (folder / "config.json").is_file():
        return folder, "mirror"
    folder = model_snapshot(spec, source)
    return folder, folder.name


def _processor(spec: ModelSpec, folder: Path) -> tuple[Any, str]:
    if spec.kind == "image_encoder":
        processor = read_image_processor(spec, spec.config, folder / "preprocessor_config.json")
        return processor, f"image-{processor.size}-{processor.channels}"
    tokenizer = read_tokenizer(spec, folder)
    if spec.kind != "vision_language":
        return tokenizer, tokenizer_key(spec, tokenizer)
    image = read_image_processor(spec, spec.config["vision_config"], folder / "preprocessor_config.json")
    return vision_processor(spec, tokenizer, image, spec.config["mm_tokens_per_image"])


def read_image_processor(spec: ModelSpec, config: Mapping[str, Any], path: Path) -> ImageProcessor:
    """Mean and deviation are the checkpoint's own; raises DataError when it does not say them."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        mean, std = tuple(map(float, raw["image_mean"])), tuple(map(float, raw["image_std"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"model {spec.name}: {path} does not say image_mean and image_std ({error}).") from error
    return ImageProcessor(int(config["image_size"]), int(config.get("num_channels", 3)), mean, std)
