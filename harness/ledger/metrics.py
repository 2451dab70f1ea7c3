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
}


def check_card(dataset: DatasetSpec) -> None:
    """Raises SpecError for an unknown metric, a level of chance that it cannot have, and shares that leave no row."""
    for name in (dataset.metric, *dataset.metrics):
        if name not in RANGES:
            raise SpecError(f"dataset.metric: unknown metric '{name}'.{nearest(name, RANGES)}")
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
