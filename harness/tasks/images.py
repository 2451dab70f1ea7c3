"""Images: decoded and, where larger than the model's input, shrunk once; enlarged and normalised in batches.

Everything runs on the CPU with PIL and torch; the only chance is the generator that the caller gives.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.ledger.errors import DataError
from harness.models.loaded import ImageProcessor
from harness.tasks.task import Example

if TYPE_CHECKING:
    from PIL.Image import Image

# what PIL raises for damaged files, depending on the format
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
)


def decode(value: Any, processor: ImageProcessor, size: int) -> dict[str, Any]:
    """{"pixels": height x width x channels bytes, "height", "width"} of an image: the bytes of a file, its path, or
    {"bytes": …, "path": …}. Upright as its EXIF says; what is transparent is white. Raises DataError for what is none.
    """
    from PIL import Image

    image = _opened(content(value)).convert("L" if processor.channels == 1 else "RGB")
    if max(image.size) > size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)  # both sides, as the study's transform does
    return {"pixels": image.tobytes(), "height": image.height, "width": image.width}


def content(value: Any) -> bytes:
    """The bytes of an image's file; raises DataError where there is none."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise DataError(f"the image column holds {value!r:.80}; it must hold a JPEG or PNG file's bytes, or its path.")
    try:
        return Path(value).read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(
            f"the image file {value} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error


def _opened(raw: bytes) -> "Image":
    """Decoded, upright, 8 bits a channel, without transparency."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(raw))
            image.load()
        return _opaque(_eight_bits(ImageOps.exif_transpose(image)))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"an image of more than {Image.MAX_IMAGE_PIXELS:,} pixels is not read; shrink it.") from error
    except _BROKEN as error:
        raise DataError(f"not a readable image: {error}") from error


def _eight_bits(image: "Image") -> "Image":
    """Grey values of 16 bits by their share of 65,535, and of float by their share of 1."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image, np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        if not (values.min() >= 0 and values.max() <= top):
            raise ValueError(f"grey values from {values.min():g} to {values.max():g} are not within 0 to {top:g}")
        return Image.fromarray(np.rint(values / top * 255).astype(np.uint8))
    return image


def _opaque(image: "Image") -> "Image":
    """On white, where the image has transparency."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def stack(examples: Sequence[Example], processor: ImageProcessor, size: int) -> Tensor:
    """(batch, channels, size, size) float32, bilinear, normalised with the processor's mean and deviation."""
    images = [_image(example, processor.channels) for example in examples]
    if len({image.shape for image in images}) == 1:
        pixels = _resized(torch.from_numpy(np.stack(images)), size)
    else:
        pixels = torch.cat([_resized(torch.from_numpy(image[None].copy()), size) for image in images])
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
