"""The metrics that a dataset's card may name, and what their values can be; what in a card cannot be true together."""

from collections.abc import Mapping
from math import inf

from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import SpecError, nearest

SHARE, CORRELATION = (0.0, 1.0), (-1.0, 1.0)
RANGES: Mapping[str, tuple[float, float]] = {
    "accuracy": SHARE,
    "f1": SHARE,
    "f1_macro": SHARE,
    "matthews": CORRELATION,
    "pearson": CORRELATION,
    "spearman": CORRELATION,
    "perplexity": (1.0, inf),
    "token_accuracy": SHARE,
    "exact_match": SHARE,
    "bleu": (0.0, 100.0),
    "rouge_l": SHARE,
    "vqa_accuracy": SHARE,
    "anls": SHARE,
}
AGAINST_ALL = ("vqa_accuracy", "anls")  # metrics of a written answer against all of a row's references


def check_card(dataset: DatasetSpec) -> None:
    """Raises SpecError for an unknown metric, a level of chance that it cannot have, and shares that leave no row."""
    for name in (dataset.metric, *dataset.metrics):
        if name not in RANGES:
            raise SpecError(f"dataset.metric: unknown metric '{name}'.{nearest(name, RANGES)}")
    _check_references(dataset)
    least, most = RANGES[dataset.metric]
    if dataset.chance is not None and not least <= dataset.chance <= most:
        raise SpecError(
            f"dataset.chance: {dataset.chance} is no {dataset.metric}, which is from {least:g} to {most:g}."
        )
    split = dataset.split
    held_out = (split.share if split.validation is None else 0) + (split.test_share if split.test is None else 0)
    if held_out >= 1:
        raise SpecError(
            f"dataset.split: share and test_share hold out {held_out:g} of train, which leaves no row of it."
        )


def _check_references(dataset: DatasetSpec) -> None:
    """`dataset.task.answers` is what some metrics need, and what the others have no use for."""
    answers = getattr(dataset.task, "answers", None)
    for name in dataset.metrics:
        if name in AGAINST_ALL and answers is None:
            raise SpecError(
                f"dataset.metrics: {name} compares a written answer with all references of a row; "
                "it needs a vision_language task with answer: generation and answers: COLUMN."
            )
        if answers is not None and name not in AGAINST_ALL:
            raise SpecError(
                f"dataset.metrics: {name} knows one reference, and dataset.task.answers gives several; "
                f"take {' or '.join(AGAINST_ALL)}, or leave `answers` out."
            )
