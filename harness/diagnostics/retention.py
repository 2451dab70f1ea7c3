"""Data that a built-in model knew before its run, and what is asked of it there.

vit_micro: its pretraining task, all images of the digits 0 to 4 with the classifier of the pretraining.
gemma3_micro: captions of scenes that it was not trained on.
minilm: English paragraphs of Python's language reference. Its checkpoint has no head that predicts masked words, so
that its own sentence embeddings are compared: it was tuned for them.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.builtin.shapes_vqa import scene
from harness.ledger.errors import NothingToMeasure
from harness.ledger.model_spec import BuiltinModel
from harness.models.loaded import LoadedModel

SCENES, SCENE_SEED = 300, 1  # gemma3_micro is trained on scenes of seed 0
PARAGRAPHS, WORDS, TOKENS = 128, (8, 40), 64
BATCH = 128


@dataclass(frozen=True)
class RetentionSet:
    """What a model is asked, and how its outputs are judged against those of the pretrained weights."""

    name: str
    examples: str  # a digest of them
    n: int
    outputs: Callable[[nn.Module, torch.device], Tensor]  # float32 on the CPU, a row for each example
    judge: Callable[[Tensor, Tensor], tuple[float, float]]  # (outputs, those before) -> loss, accuracy


def retention_set(loaded: LoadedModel) -> RetentionSet:
    """The set of a model. Raises NothingToMeasure for one of which no data are known that it knew."""
    source = loaded.spec.source
    name = source.builder if isinstance(source, BuiltinModel) and loaded.spec.size == "full" else ""
    if name == "vit_micro":
        return _digits()
    if name == "gemma3_micro":
        return _captions(loaded)
    if name == "minilm":
        return _english(loaded)
    known = "gemma3_micro, minilm, vit_micro"
    raise NothingToMeasure(
        f"no data are known that {loaded.spec.name} ({loaded.spec.size}) knew before; of {known} are."
    )


def paragraphs() -> list[str]:
    """Of Python's language reference, one line each, chosen by the hash of their text."""
    from pydoc_data.topics import topics

    texts = {" ".join(text.split()) for topic in topics.values() for text in topic.split("\n\n")}
    prose = [
        text for text in texts if WORDS[0] <= len(text.split()) <= WORDS[1] and text[0].isupper() and text[-1] == "."
    ]
    return sorted(prose, key=_digest)[:PARAGRAPHS]


def _digits() -> RetentionSet:
    from harness.data.builtin.digits import images_of
    from harness.models.vit_micro import DIGITS, pixels_of, pretraining_head

    images, labels = images_of(DIGITS)
    pixels, targets = pixels_of(images), torch.from_numpy(labels).long()
    head = pretraining_head()

    def outputs(model: Any, device: torch.device) -> Tensor:
        parts = [model.base_model(pixel_values=part.to(device)).last_hidden_state[:, 0] for part in pixels.split(BATCH)]
        return torch.cat(parts).float().cpu() @ head["classifier.weight"].T + head["classifier.bias"]

    def judge(logits: Tensor, _: Tensor) -> tuple[float, float]:
        loss = functional.cross_entropy(logits.double(), targets)
        return float(loss), float((logits.argmax(-1) == targets).double().mean())

    return RetentionSet("digits 0 to 4", _digest(images.tobytes()), len(targets), outputs, judge)


def _captions(loaded: LoadedModel) -> RetentionSet:
    from harness.models.gemma3_micro_build import Captions

    rng = random.Random(SCENE_SEED)
    inputs, labels = Captions(loaded.spec).batch([scene(rng) for _ in range(SCENES)])
    targets = labels[:, 1:]

    def outputs(model: Any, device: torch.device) -> Tensor:
        parts = [
            model(**{name: value[rows].to(device) for name, value in inputs.items()}).logits[:, :-1].float().cpu()
            for rows in torch.arange(SCENES).split(BATCH)
        ]
        return torch.cat(parts)

    def judge(logits: Tensor, _: Tensor) -> tuple[float, float]:
        """Loss of a token; a caption is right without a mistake, each token the likeliest after the true ones."""
        loss = functional.cross_entropy(logits.double().flatten(0, 1), targets.flatten())
        right = (logits.argmax(-1) == targets) | (targets == -100)
        return float(loss), float(right.all(1).double().mean())

    return RetentionSet("captions", _digest(inputs["pixel_values"].numpy().tobytes()), SCENES, outputs, judge)


def _english(loaded: LoadedModel) -> RetentionSet:
    texts = paragraphs()
    read = loaded.processor(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")

    def outputs(model: Any, device: torch.device) -> Tensor:
        return torch.cat([_embedded(model, read, rows, device) for rows in torch.arange(len(texts)).split(BATCH)])

    return RetentionSet("English", _digest("\n".join(texts)), len(texts), outputs, similar)


def _embedded(model: Any, read: Any, rows: Tensor, device: torch.device) -> Tensor:
    """Sentence embeddings as the checkpoint means them, but for their length: the mean over tokens."""
    batch = {name: value[rows].to(device) for name, value in read.items()}
    states = model.base_model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"][..., None]
    return ((states * mask).sum(1) / mask.sum(1)).cpu()


def similar(after: Tensor, before: Tensor) -> tuple[float, float]:
    """1 less the mean cosine of each text's embeddings, and the share of texts with the same nearest other text."""
    after, before = (functional.normalize(embeddings.double(), dim=-1) for embeddings in (after, before))
    return max(0.0, float(1 - (after * before).sum(1).mean())), float(
        (_nearest(after) == _nearest(before)).double().mean()
    )


def _nearest(embeddings: Tensor) -> Tensor:
    return (embeddings @ embeddings.T).fill_diagonal_(-2).argmax(1)


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]
