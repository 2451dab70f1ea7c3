"""The strict parser: every wrong key, choice or type is one sentence that names its path."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from harness.ledger.errors import SpecError
from harness.ledger.parse import parse


@dataclass(frozen=True)
class Low:
    kind: Literal["low"]
    rank: int


@dataclass(frozen=True)
class Wide:
    kind: Literal["wide"]


@dataclass(frozen=True)
class Spec:
    update: Low | Wide
    lr: float
    betas: tuple[float, ...]
    note: str | None
    on: bool
    about: Mapping[str, Any]


GOOD = {"update": {"kind": "low", "rank": 4}, "lr": 1, "betas": [0, 0.5], "note": None, "on": True, "about": {"a": [1]}}


def test_plain_data_becomes_frozen_values():
    spec = parse(Spec, GOOD, "spec")
    assert spec == Spec(Low("low", 4), 1.0, (0.0, 0.5), None, True, {"a": (1,)})
    assert isinstance(spec.lr, float)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lr": "fast"}, "spec.lr: 'fast' is not a number"),
        ({"lr": True}, "spec.lr: True is not a number"),
        ({"on": 1}, "spec.on: 1 is not true or false"),
        ({"lrr": 1}, "spec.lrr: unknown key. Did you mean 'lr'?"),
        (
            {"update": {"kind": "lw", "rank": 4}},
            "spec.update.kind: unknown choice 'lw'. Did you mean 'low'? Known: low",
        ),
        ({"update": {"kind": "low", "rank": 4.5}}, "spec.update.rank: 4.5 is not a whole number"),
        ({"update": {"kind": "low", "rnak": 4}}, "spec.update.rnak: unknown key. Did you mean 'rank'?"),
        ({"update": {"kind": "low"}}, "spec.update: rank must be given"),
        ({"betas": 0.9}, "spec.betas: 0.9 is not a list"),
        ({"note": 3}, "spec.note: 3 is not a text"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_its_path(change, says):
    with pytest.raises(SpecError) as caught:
        parse(Spec, GOOD | change, "spec")
    assert says in str(caught.value)


def test_an_absent_key_is_never_filled_in():
    with pytest.raises(SpecError, match="lr must be given"):
        parse(Spec, {key: value for key, value in GOOD.items() if key != "lr"}, "spec")
