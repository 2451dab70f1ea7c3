"""A card's metrics are known, and its chance level is one of theirs, before anything is loaded."""

import pytest

from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.ledger.errors import SpecError
from harness.ledger.metrics import RANGES
from harness.tasks.scores import METRICS


def card(**change):
    words = [assign("dataset", "digits"), *(assign(f"dataset.{key}", value) for key, value in change.items())]
    return Resolver().part("dataset", words).spec


def test_the_known_metrics_are_those_that_are_computed():
    assert set(RANGES) == set(METRICS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "acc"}, "dataset.metric: unknown metric 'acc'. Did you mean 'accuracy'?"),
        ({"metrics": ["accuracy", "f2"]}, "dataset.metric: unknown metric 'f2'. Did you mean 'f1'?"),
        ({"chance": 50}, "dataset.chance: 50.0 is no accuracy, which is from 0 to 1."),
        ({"split.share": 0.6, "split.test_share": 0.5}, "hold out 1.1 of train"),
    ],
)
def test_what_a_card_cannot_say_is_one_sentence(change, says):
    with pytest.raises(SpecError) as error:
        card(**change)
    assert says in str(error.value)


def test_chance_below_zero_is_a_correlations():
    assert card(metric="matthews", metrics=["matthews"], chance=-0.1).chance == -0.1
