"""model=vit_micro: a small ViT pretrained here, at first use, on scikit-learn's digits 0 to 4; cached as safetensors.

Single-threaded and seeded, so that one machine always makes the same weights; the file's SHA-256 is the revision.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from harness.data.builtin.digits import images_of
from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.identity import canonical
from harness.ledger.model_spec import ModelSpec
from harness.ledger.paths import write_whole
from harness.ledger.seeds import Seeds
from harness.models.config import draw_weights, layout_of, make_config
from harness.models.families import model_class
from harness.models.loaded import ImageProcessor, LoadedModel

DIGITS = (0, 1, 2, 3, 4)
EPOCHS, BATCH, LR = 15, 64, 1e-3  # ours: where the training loss comes to rest; 0.98 on held-out images of 0 to 4
SEED = 0  # of the pretraining; never the run's
PROCESSOR = ImageProcessor(size=8, channels=1, mean=(0.3,), std=(0.38,))  # of the 901 images, rounded


def load_vit_micro(spec: ModelSpec, task: TaskSpec, seeds: Seeds, cache: Path) -> LoadedModel:
    """Pretrains when the cache has no weights (some seconds); two processes that do so at once write the same file."""
    path = _file(spec, cache)
    if not path.is_file():
        _write(spec, task, cache)
    model = draw_weights(spec, task, seeds)
    model.load_state_dict(load_file(path), strict=False)  # all but the classifier, which keeps its draw
    return LoadedModel(
        spec=spec,
        model=model,
        processor=PROCESSOR,
        layout=layout_of(spec, task),
        revision=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
        processor_key=f"image-{PROCESSOR.size}-{PROCESSOR.channels}",
    )


def pretraining_head(spec: ModelSpec, task: TaskSpec, cache: Path) -> dict[str, Tensor]:
    """The classifier of the digits 0 to 4 that the pretraining ends with; no run starts from it, diagnoses ask it.

    Pretrains once more when the cache has the weights alone: as earlier versions left it.
    """
    path = _head_file(_file(spec, cache))
    if not path.is_file():
        _write(spec, task, cache)
    return load_file(path)


def pixels_of(images: np.ndarray) -> Tensor:
    """(n, 1, 8, 8) of uint8 images, as the pretraining sees them."""
    return (torch.from_numpy(images)[:, None].float() / 255 - PROCESSOR.mean[0]) / PROCESSOR.std[0]


def _file(spec: ModelSpec, cache: Path) -> Path:
    recipe = json.dumps([canonical(spec.config), DIGITS, EPOCHS, BATCH, LR, SEED, PROCESSOR.mean, torch.__version__])
    return cache / "models" / f"vit_micro-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.safetensors"


def _head_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}-classifier.safetensors")


def _write(spec: ModelSpec, task: TaskSpec, cache: Path) -> None:
    """Pretrains; weights that are there stay as they are, since runs have started from them."""
    path, weights = _file(spec, cache), _pretrained(spec, task)
    head = {name: weights.pop(name) for name in list(weights) if name.startswith("classifier.")}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(_head_file(path), save(head))
    if not path.is_file():
        write_whole(path, save(weights))


def _pretrained(spec: ModelSpec, task: TaskSpec) -> dict[str, Tensor]:
    """The weights after `EPOCHS` passes over all images."""
    images, labels = images_of(DIGITS)
    pixels, targets = pixels_of(images), torch.from_numpy(labels).long()
    with _one_thread_seeded(SEED):
        config = make_config(spec, task)
        config.num_labels = len(DIGITS)
        model = model_class(spec, task)(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
        steps = EPOCHS * -(-len(targets) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(targets)).split(BATCH):
                loss = nn.functional.cross_entropy(model(pixel_values=pixels[rows]).logits, targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return dict(model.state_dict())


@contextmanager
def _one_thread_seeded(seed: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
