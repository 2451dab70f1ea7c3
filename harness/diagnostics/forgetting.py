"""Forgetting: loss and accuracy on data that the model knew, with the pretrained weights and with the run's.

The head that a run trains for its own task is left out: a classifier for new classes has forgotten nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch

from harness.diagnostics.retention import retention_set
from harness.diagnostics.subject import Subject
from harness.ledger.seeds import Seeds
from harness.models.load import load_model


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The set, how many examples, and loss and accuracy on it before and after."""
    dataset = subject.spec.dataset
    known = retention_set(subject.loaded)
    fresh = load_model(subject.spec.model, dataset.task, Seeds(subject.spec.seed), subject.settings.cache)
    with torch.no_grad(), subject.autocast():
        before = known.outputs(fresh.model.to(subject.device).eval(), subject.device)
        after = known.outputs(subject.model, subject.device)
    (loss_before, accuracy_before), (loss_after, accuracy_after) = (
        known.judge(before, before),
        known.judge(after, before),
    )
    return {
        "set": known.name,
        "examples": known.examples,
        "n": known.n,
        "loss_before": loss_before,
        "loss_after": loss_after,
        "accuracy_before": accuracy_before,
        "accuracy_after": accuracy_after,
    }
