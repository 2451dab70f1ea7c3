"""dataset=digits: scikit-learn's 1,797 real 8 x 8 images of handwritten digits (UCI, Alpaydin & Kaynak)."""

import io
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np


def fingerprint() -> str:
    """What the rows depend on beside the options; cheap."""
    return f"1/scikit-learn {version('scikit-learn')}"


def build(options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows {image (PNG bytes), label} of the digits named by `options.digits`."""
    images, labels = images_of(options["digits"])
    return {"train": [{"image": _png(image), "label": str(label)} for image, label in zip(images, labels, strict=True)]}


def images_of(digits: Any) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 8) uint8 and their (n,) digits; scikit-learn's grey values 0 to 16 become 0 to 255."""
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    kept = np.isin(labels, list(digits))
    return np.rint(images[kept].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels[kept]


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
