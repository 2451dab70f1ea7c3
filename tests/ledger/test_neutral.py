"""A field that comes later has a neutral value: what was written without it keeps its meaning and its id."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Literal

import pytest

from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical, to_plain
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
    parts: tuple[Low, ...]
    named: Mapping[str, Low]


@dataclass(frozen=True)
class GatedLow:
    """`Low` in the version after."""

    kind: Literal["low"]
    rank: int
    gate: float | None = field(default=None, metadata={"neutral": None})
    scale: float = field(default=1.0, metadata={"neutral": 1})
    inner: Low | Wide = field(default=Wide("wide"), metadata={"neutral": {"kind": "wide"}})
    words: tuple[str, ...] = field(default=(), metadata={"neutral": []})


@dataclass(frozen=True)
class Late:
    """A kind that the union has got since."""

    kind: Literal["late"]
    power: int = field(default=2, metadata={"neutral": 2})


@dataclass(frozen=True)
class NewSpec:
    update: GatedLow | Wide | Late
    parts: tuple[GatedLow, ...]
    named: Mapping[str, GatedLow]
    ready: bool = field(default=False, metadata={"neutral": False})


OLD = {
    "update": {"kind": "low", "rank": 4},
    "parts": [{"kind": "low", "rank": 1}],
    "named": {"a": {"kind": "low", "rank": 2}},
}
GATED = GatedLow("low", 4)


def new(**changes):
    return parse(NewSpec, OLD | changes, "spec")


def test_an_old_yaml_is_filled_in_with_typed_values():
    assert new().update == GATED
    assert isinstance(new().update.scale, float) and new().update.inner == Wide("wide") and new().update.words == ()
    assert new().ready is False


def test_the_text_that_ids_are_taken_of_is_the_old_one():
    assert canonical(new()) == canonical(parse(Spec, OLD, "spec"))


def test_what_is_written_down_is_as_before_so_that_old_and_new_specs_are_equal():
    assert to_plain(new()) == OLD
    assert parse(NewSpec, to_plain(new()), "spec") == new()


@pytest.mark.parametrize(
    "change",
    [{"gate": 0.0}, {"gate": 1.5}, {"scale": 2}, {"inner": {"kind": "low", "rank": 1}}, {"words": ["a"]}],
)
@pytest.mark.parametrize("place", ["update", "parts", "named"])
def test_another_value_is_another_id_and_is_written_down(change, place):
    low = {"kind": "low", "rank": 4} | change
    given = {"update": low, "parts": [low], "named": {"a": low}}
    spec = new(**{place: given[place]})
    assert canonical(spec) != canonical(new())
    assert parse(NewSpec, to_plain(spec), "spec") == spec


@pytest.mark.parametrize(
    "given", [{"gate": None}, {"scale": 1}, {"scale": 1.0}, {"inner": {"kind": "wide"}}, {"words": []}]
)
def test_the_neutral_value_written_out_is_the_same_id(given):
    assert canonical(new(update=OLD["update"] | given)) == canonical(new())


def test_a_kind_that_came_later_keeps_its_own_neutral_values():
    assert canonical(new(update={"kind": "late"}).update) == '{"kind":"late"}'
    assert canonical(new(update={"kind": "late", "power": 3}).update) == '{"kind":"late","power":3}'


def test_false_is_not_nought_and_a_field_that_is_no_latecomer_must_be_given():
    assert canonical(replace(new(), ready=True)) != canonical(new())
    with pytest.raises(SpecError, match="update: rank must be given"):
        new(update={"kind": "low"})


def test_a_wrong_value_of_a_late_field_is_refused_as_any_other():
    with pytest.raises(SpecError, match=r"spec\.update\.scale: 'big' is not a number"):
        new(update=OLD["update"] | {"scale": "big"})


def test_a_neutral_value_of_the_wrong_type_is_found_at_once():
    wrong = make_dataclass("Wrong", [("a", int, field(metadata={"neutral": "x"}))], frozen=True)
    with pytest.raises(SpecError, match=r"spec\.a: 'x' is not a whole number"):
        parse(wrong, {}, "spec")
