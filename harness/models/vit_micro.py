"""model=vit_micro: a small ViT that knows scikit-learn's digits 0 to 4.

Its weights lie beside this file, as made once by `vit_micro_build.py`. Their SHA-256 is the revision.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.config import draw_weights, layout_of
from harness.models.loaded import ImageProcessor, LoadedModel
from harness.models.shipped import fill, read_shipped

DIGITS = (0, 1, 2, 3, 4)
WEIGHTS = Path(__file__).with_name("vit_micro.safetensors")
SHA256 = "5499714f996d957bcfe29b67033953714e864d623c38ec391d4a8265db2c75af"
PROCESSOR = ImageProcessor(size=8, channels=1, mean=(0.3,), std=(0.38,))  # of the 901 images, rounded
CLASSIFIER = frozenset({"classifier.weight", "classifier.bias"})


def load_vit_micro(spec: ModelSpec, task: TaskSpec, seeds: Seeds) -> LoadedModel:
    """All but the classifier, which keeps its draw. Raises NotHere or DataError as `harness.models.shipped` does."""
    model = draw_weights(spec, task, seeds)
    fill(model, read_shipped(WEIGHTS, SHA256), spec.name, CLASSIFIER)
    return LoadedModel(
        spec=spec,
        model=model,
        processor=PROCESSOR,
        layout=layout_of(spec, task),
        revision=f"sha256:{SHA256}",
        processor_key=f"image-{PROCESSOR.size}-{PROCESSOR.channels}",
    )


def pretraining_head() -> dict[str, Tensor]:
    """The classifier of the digits 0 to 4 that the pretraining ended with; no run starts from it, diagnoses ask it."""
    tensors = read_shipped(WEIGHTS, SHA256)
    return {name: tensors[name] for name in CLASSIFIER}


def pixels_of(images: np.ndarray) -> Tensor:
    """(n, 1, 8, 8) of uint8 images, as the pretraining sees them."""
    return (torch.from_numpy(images)[:, None].float() / 255 - PROCESSOR.mean[0]) / PROCESSOR.std[0]
