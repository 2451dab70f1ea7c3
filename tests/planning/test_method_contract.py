"""The contract of a method from anywhere: a good one keeps it, and each way to break it is named."""

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import pytest
import torch

from harness.__main__ import main
from harness.config.compose import compose_part
from harness.config.overrides import assign
from harness.ledger.parse import parse
from harness.planning import method_contract
from harness.planning.capabilities import tried
from harness.planning.capability_trials import START
from harness.planning.method_contract import PROMISES, contract
from harness.planning.tiny_trial import attached, part
from methods.spec import LowRank, MethodSpec, SiteUpdateSpec
from methods.update.low_rank import LowRankUpdate


class StartsElsewhere(LowRankUpdate):
    """Its B is not zero at the start."""

    def begin(self, draw, link):
        super().begin(draw, link)
        with torch.no_grad():
            self.b += 0.5


class Forgets(LowRankUpdate):
    """A factor of which the loss knows nothing."""

    def pair(self):
        return self.b, self.a.detach()


class Loses(LowRankUpdate):
    """Saves one of its two factors."""

    def state(self):
        return {"b": self.b.detach()}


class OtherwiseFast(LowRankUpdate):
    """Its fast path forgets the second factor's sign."""

    fast_path = LowRankUpdate.fast_path

    def branch(self, x):
        return -super().branch(x)


class DoesNotMerge(LowRankUpdate):
    def merge(self):
        pass


BROKEN = {
    "start unchanged": StartsElsewhere,
    "a gradient for each trained tensor": Forgets,
    "each trained tensor is saved": Loses,
    "fast path = branch": OtherwiseFast,
    "merge": DoesNotMerge,
}


@dataclass(frozen=True)
class Toy(SiteUpdateSpec):
    kind: Literal["toy"]
    of: type
    rank: int = 4

    def make(self, site):
        return self.of(LowRank("low_rank", 4, 8.0, True, True, "kaiming_uniform", "zero"), site)


@pytest.fixture(autouse=True)
def _promises_alone(monkeypatch):
    """The columns are docs/capabilities.md's, and tried in test_capabilities.py; the merge is of both."""
    few = {"merge": method_contract.COLUMNS["merge"], "resume": method_contract.COLUMNS["resume"]}
    monkeypatch.setattr(method_contract, "COLUMNS", few)


def toy(of):
    lora = parse(MethodSpec, compose_part("method", [assign("method", "lora")]), "method")
    return replace(lora, name="toy", update=Toy("toy", of))


def broken(of):
    return {promise: found.why for promise, found in contract(toy(of)) if found.state == "broken"}


class Fast(LowRankUpdate):
    """LoRA by a class of one's own, with LoRA's fast path."""

    fast_path = LowRankUpdate.fast_path


def test_a_method_that_keeps_it_has_no_word_against_it():
    assert {found.state for _, found in contract(toy(Fast))} == {"works"}


class Slow(LowRankUpdate):
    """Its branch alone."""


def test_a_method_without_a_fast_path_runs_on_its_branch_and_breaks_nothing():
    others = dict(contract(toy(Slow)))
    assert others["fast path = branch"].why == "it declares no fast path."
    assert {found.state for promise, found in others.items() if promise != "fast path = branch"} == {"works"}


@pytest.mark.parametrize(("kind", "options"), [
    ("C3A", ["peft.block_size=16"]), ("FOURIERFT", ["peft.n_frequency=50"]),
])  # fmt: skip
def test_first_values_that_the_library_draws_are_a_note_and_its_own_option_starts_at_zero(kind, options):
    words = ["method=peft", f"peft.type={kind}", *options]
    found = tried(partial(PROMISES[START], part("method", words)))
    assert found.state == "noted" and kind in found.why
    assert tried(partial(PROMISES[START], part("method", [*words, "peft.init_weights=true"]))).state == "works"


def test_a_gradient_of_zero_on_the_tiny_model_is_a_note():
    """GLORA scales the bias, which is zero there."""
    found = tried(
        partial(PROMISES["a gradient for each trained tensor"], part("method", ["method=peft", "peft.type=GLORA"]))
    )
    assert (found.state, found.why[:10]) == ("noted", "4 of 36 te")


@pytest.mark.parametrize("promise", BROKEN)
def test_what_is_broken_is_named(promise):
    assert promise in broken(BROKEN[promise])


def test_a_weight_that_moves_beside_the_targets_is_named(monkeypatch):
    def astray(spec, column):
        there = attached(spec, column)
        train = there.train

        def also_elsewhere():
            train()
            with torch.no_grad():
                there.model.get_input_embeddings().weight.add_(1.0)

        there.train = also_elsewhere
        return there

    monkeypatch.setattr(method_contract, "attached", astray)
    assert "word_embeddings" in broken(LowRankUpdate)["weights beside its targets bit-identical"]


def test_every_method_of_conf_is_held_to_the_same_promises(capsys):
    assert main(["check-method", "c3la", "--contract", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["promise"] for row in answer["contract"]] == [*PROMISES, "merge", "resume"]
    assert {row["state"] for row in answer["contract"]} == {"works"}


def test_a_broken_contract_ends_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(method_contract, "contract", lambda spec: contract(toy(StartsElsewhere)))
    assert main(["check-method", "cla"]) == 1
    assert "✗" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [(["clax"], "there is no method 'clax'. Did you mean"), (["lora"], "what others are held against"),
     (["../x"], "letters, digits"), (["cla", "device=tpu"], "device")],
)  # fmt: skip
def test_a_wrong_request_is_one_sentence(words, says, capsys):
    assert main(["check-method", *words]) == 2
    assert says in capsys.readouterr().err
