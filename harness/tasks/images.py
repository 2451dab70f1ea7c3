"""Images: decoded and, where larger than the model's input, shrunk once; enlarged and normalised in batches.

Everything runs on the CPU with PIL and torch; the only chance is the generator that the caller gives.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.ledger.errors import DataError
from harness.models.loaded import ImageProcessor
from harness.tasks.task import Example


def decode(value: Any, processor: ImageProcessor, size: int) -> dict[str, Any]:
    """{"pixels": height x width x channels bytes, "height", "width"} of an encoded image (bytes, or {"bytes": ...})."""
    from PIL import Image, UnidentifiedImageError

    raw = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(raw, bytes):
        raise DataError(f"the image column holds {type(raw).__name__}; it must hold the bytes of a JPEG or PNG file.")
    try:
        image = Image.open(io.BytesIO(raw)).convert("L" if processor.channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"not a readable image: {error}") from error
    if max(image.size) > size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)  # both sides, as the study's transform does
    return {"pixels": image.tobytes(), "height": image.height, "width": image.width}


def stack(examples: Sequence[Example], processor: ImageProcessor, size: int) -> Tensor:
    """(batch, channels, size, size) float32, bilinear, normalised with the processor's mean and deviation."""
    images = [_image(example, processor.channels) for example in examples]
    if len({image.shape for image in images}) == 1:
        pixels = _resized(torch.from_numpy(np.stack(images)), size)
    else:
        pixels = torch.cat([_resized(torch.from_numpy(image)[None], size) for image in images])
    mean, std = (torch.tensor(value)[:, None, None] for value in (processor.mean, processor.std))
    return (pixels / 255 - mean) / std


def flipped(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Each image mirrored left to right with p = 0.5."""
    coin = torch.rand(len(pixels), generator=rng) < 0.5
    return torch.where(coin[:, None, None, None], pixels.flip(-1), pixels)


def _image(example: Example, channels: int) -> np.ndarray:
    flat = np.frombuffer(example["pixels"], np.uint8) if isinstance(example["pixels"], bytes) else example["pixels"]
    return flat.reshape(example["height"], example["width"], channels)


def _resized(images: Tensor, size: int) -> Tensor:
    pixels = images.permute(0, 3, 1, 2).float()
    if pixels.shape[-2:] == (size, size):
        return pixels
    return torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)
