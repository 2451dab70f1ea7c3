"""The sets that a dataset's card names under `retention:`, asked of a language model's own head."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.load import Encoder, load_data
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.questions import card_of
from harness.diagnostics.retention import RetentionSet
from harness.diagnostics.subject import Subject
from harness.ledger.dataset_spec import CausalLM, Choice, Generation
from harness.ledger.errors import NothingToMeasure, SpecError
from harness.measure.precision import autocast
from harness.tasks.build import build
from harness.tasks.task import Prediction
from harness.training.evaluate import predict

ROWS = 500  # of a set's test split, by the hash of their ids
OWN_HEAD = (CausalLM, Choice, Generation)  # tasks of a run that leave the pretrained head in its place
ASKED = (CausalLM, Choice)


def card_set(subject: Subject, name: str) -> RetentionSet:
    """At most 500 test examples of a dataset: loss of a token or example, and share of tokens or examples right.

    Raises NothingToMeasure where the run has no pretrained head left, SpecError for a set that is of another kind.
    """
    card, own = card_of(name), subject.spec.dataset.task
    if not isinstance(own, OWN_HEAD):
        raise NothingToMeasure(f"its head is new, of {own.kind}: `retention:` is asked of a language model's own head.")
    if not isinstance(card.task, ASKED):
        raise SpecError(f"retention: {name} is of kind {card.task.kind}; choose datasets of causal_lm or choice.")
    task = build(card, subject.loaded)
    test = load_data(card, Encoder(task.encode, task.length, subject.loaded.processor_key), subject.settings.cache).test
    rows = chosen_rows(test.ids, ROWS)
    examples, lengths = [test[row] for row in rows], [test.lengths[row] for row in rows]
    recipe, is_text = subject.spec.recipe, isinstance(card.task, CausalLM)

    def outputs(model: nn.Module, device: torch.device) -> Tensor:
        precision = autocast(recipe.precision, device)
        size = recipe.eval_batch_size
        found = predict(model, task, examples, lengths, batch_size=size, device=device, autocast=precision)
        return torch.tensor([_counts(prediction, is_text) for prediction in found], dtype=torch.float64)

    digest = hashlib.sha256("\n".join(str(example["id"]) for example in examples).encode()).hexdigest()[:16]
    return RetentionSet(name, digest, len(rows), outputs, lambda counts, _: _means(counts))


def _counts(prediction: Prediction, is_text: bool) -> tuple[float, ...]:
    """Loss and its weight; how many tokens, or examples, are right, and of how many."""
    right: Any = prediction.score * prediction.weight if is_text else prediction.prediction == prediction.target
    return prediction.loss, prediction.weight, float(right), prediction.weight if is_text else 1


def _means(counts: Tensor) -> tuple[float, float]:
    loss, weight, right, n = counts.sum(0).tolist()
    return loss / weight, right / n
