"""Every number of a spec has its range; one sentence names key, value and range, and no id knows of it."""

from dataclasses import dataclass, field, fields, is_dataclass

import pytest

from harness.execution import local_cluster
from harness.ledger import dataset_spec, spec, sweep_spec
from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical
from harness.ledger.parse import parse
from methods import spec as method_spec
from slurm import cluster_spec


@dataclass(frozen=True)
class Numbers:
    rate: float = field(metadata={"above": 0})
    share: float | None = field(metadata={"min": 0, "below": 1})
    betas: tuple[float, ...] = field(metadata={"items": (2, 2), "min": 0, "below": 1})
    sizes: tuple[int, ...] = field(metadata={"items": (1, None), "ascending": True})


GOOD = {"rate": 1e-9, "share": 0, "betas": [0, 0.99], "sizes": [1, 2]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate": 0}, "x.rate: 0.0 is not a number above 0."),
        ({"rate": float("inf")}, "x.rate: inf is not a finite number."),
        ({"rate": float("nan")}, "x.rate: nan is not a finite number."),
        ({"share": 1.0}, "x.share: 1.0 is not a number at least 0 and below 1."),
        ({"betas": [0.9]}, "x.betas: [0.9] holds 1 of exactly 2 that are needed."),
        ({"betas": [0.9, 1.0]}, "x.betas[1]: 1.0 is not a number at least 0 and below 1."),
        ({"sizes": []}, "x.sizes: [] holds 0 of at least 1 that are needed."),
        ({"sizes": [2, 2]}, "x.sizes: [2, 2] is not ascending."),
    ],
)
def test_a_number_outside_its_range_is_a_sentence_with_key_value_and_range(change, says):
    with pytest.raises(SpecError) as error:
        parse(Numbers, GOOD | change, "x")
    assert str(error.value) == says


def test_numbers_at_their_bounds_are_in_range_and_null_has_none():
    assert parse(Numbers, GOOD, "x").share == 0.0
    assert parse(Numbers, GOOD | {"share": None}, "x").share is None


def test_a_range_is_no_part_of_an_id():
    assert "min" not in canonical(parse(Numbers, GOOD, "x"))


@pytest.mark.parametrize(
    "module", [local_cluster, cluster_spec, dataset_spec, spec, sweep_spec, method_spec], ids=lambda m: m.__name__
)
def test_every_number_of_every_spec_has_a_range(module):
    kinds = {"int", "float"}
    words = {"min", "max", "above", "below"}
    own = [each for each in vars(module).values() if is_dataclass(each) and each.__module__ == module.__name__]
    bare = [
        f"{each.__name__}.{item.name}"
        for each in own
        for item in fields(each)
        if kinds & set(str(getattr(item.type, "__name__", item.type)).replace("[", " ").replace(",", " ").split())
        and not words & set(item.metadata)
    ]
    assert bare == []
