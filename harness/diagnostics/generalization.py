"""G(W) = |test loss - train loss|, both evaluated anew in eval mode at one checkpoint, on fixed sets of examples.

No dropout, no augmentation, the loss that training minimises; a mean over examples, or over target tokens of a causal
language model. The examples do not depend on the seed or the method (Beyond LoRA, Table 3; the definition is ours).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.load import Split
from harness.diagnostics.subject import Subject
from harness.ledger.errors import DataError
from harness.tasks.task import Prediction


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The gap in nats, signed and absolute, and of each split its loss and the losses and weights of its examples."""
    splits = {
        name: _losses(subject, split, question["rows"])
        for name, split in (("train", subject.data.train), ("test", subject.data.test))
    }
    gap = splits["test"]["loss"] - splits["train"]["loss"]
    return {"g": abs(gap), "gap": gap, **splits}


def chosen_rows(ids: Sequence[str], most: int) -> list[int]:
    """At most so many rows, by the hash of their ids: the same ones for every seed and method, in the split's order."""
    if len(ids) <= most:
        return list(range(len(ids)))
    by_hash = sorted(range(len(ids)), key=lambda row: hashlib.sha256(ids[row].encode()).digest())
    return sorted(by_hash[:most])


def _losses(subject: Subject, split: Split, most: int) -> dict[str, Any]:
    rows = chosen_rows(split.ids, most)
    return loss_of(subject.predict([split[row] for row in rows], [split.lengths[row] for row in rows]))


def loss_of(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """The weighted mean loss, what it is made of, and a digest of the examples' ids.

    Raises DataError for an empty set, or a loss of no weight.
    """
    total = sum(prediction.weight for prediction in predictions)
    if not total:
        raise DataError("there is no example, or none with a target, to take a loss of.")
    return {
        "loss": sum(prediction.loss for prediction in predictions) / total,
        "examples": hashlib.sha256("\n".join(prediction.id for prediction in predictions).encode()).hexdigest()[:16],
        "losses": [prediction.loss for prediction in predictions],
        "weights": [prediction.weight for prediction in predictions],
    }
