"""Forgetting: loss and accuracy on data that the model knew, with the pretrained weights and with the run's.

The head that a run trains for its own task is left out: a classifier for new classes has forgotten nothing.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from harness.diagnostics.card_sets import card_set
from harness.diagnostics.retention import RetentionSet, retention_set
from harness.diagnostics.subject import Subject
from harness.ledger.identity import canonical
from harness.ledger.seeds import Seeds
from harness.models.load import load_model

_before: dict[tuple, Tensor] = {}  # outputs of pretrained weights: the same ones for all runs that start from them
KEPT = 8  # sets


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The set, how many examples, and loss and accuracy on it before and after.

    Of the sets that the dataset's card names (`retention` in the question), where it names any: then each one, and
    means over them.
    """
    names = question.get("retention", ())
    if not names:
        return _of_set(subject, retention_set(subject.loaded))
    answers = [_of_set(subject, card_set(subject, name)) for name in names]
    return {**_together(answers), "sets": answers}


def _of_set(subject: Subject, known: RetentionSet) -> dict[str, Any]:
    before = _before_of(subject, known)
    with torch.no_grad(), subject.autocast():
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


def _before_of(subject: Subject, known: RetentionSet) -> Tensor:
    """Outputs of the pretrained weights. The model is loaded once for all runs that are of it; a tiny one is its
    seed's own."""
    spec, task = subject.spec.model, subject.spec.dataset.task
    seed = subject.spec.seed if spec.size == "tiny" else None
    where = str(subject.device), subject.spec.recipe.precision, str(subject.settings.cache)
    key = (canonical(spec), canonical(task), seed, known.name, known.examples, *where)
    if key not in _before:
        fresh = load_model(spec, task, Seeds(subject.spec.seed), subject.settings.cache)
        with torch.no_grad(), subject.autocast():
            outputs = known.outputs(fresh.model.to(subject.device).eval(), subject.device)
        while len(_before) >= KEPT:
            del _before[next(iter(_before))]  # the oldest
        _before[key] = outputs
    return _before[key]


def _together(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    numbers = ("loss_before", "loss_after", "accuracy_before", "accuracy_after")
    return {
        "set": ", ".join(answer["set"] for answer in answers),
        "examples": ", ".join(answer["examples"] for answer in answers),
        "n": sum(answer["n"] for answer in answers),
        **{name: fmean(answer[name] for answer in answers) for name in numbers},
    }
