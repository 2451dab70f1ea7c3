"""Ranks by hand and by depth: against the peft library's rank_pattern, or refused in one sentence."""

import re
from dataclasses import replace

import peft
import pytest
import torch

from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.ledger.errors import SpecError
from methods.errors import MethodError
from methods.ranks import largest, rank_of, why_not_ranks
from methods.why_not import why_not

TARGETS = {"q": "attention.query", "k": "attention.key", "v": "attention.value", "down": "output"}


def ranks_of(method):
    return {path: update.a.shape[0] for path, update in method.updates.items()}


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_rank_for_each_kind_and_layer_is_the_librarys_rank_pattern(lab, family):
    """Forward and all gradients in float64; the non-square `down` has its own rank in one layer."""
    tiny, other = lab.tiny(family, dtype=torch.float64), lab.tiny(family, dtype=torch.float64)
    ranks = {"q": 2, "layers.1.down": 6}
    method = lab.attach(tiny, replace(lab.spec("lora", targets=["q", "down"]), ranks=ranks))
    own = ranks_of(method)
    assert sorted(own.values()) == [2, 2, 4, 6]
    pattern = {f"^{re.escape(path)}": rank for path, rank in own.items()}
    alphas = {key: 2 * rank for key, rank in pattern.items()}
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(own), rank_pattern=pattern, alpha_pattern=alphas)
    other.model = peft.get_peft_model(other.model, config, autocast_adapter_dtype=False).double()
    generator = torch.Generator().manual_seed(1)
    layers = {path: other.model.base_model.model.get_submodule(path) for path in own}
    with torch.no_grad():
        for path, update in method.updates.items():
            update.b.copy_(torch.randn(update.b.shape, generator=generator))
            layers[path].lora_A["default"].weight.copy_(update.a)
            layers[path].lora_B["default"].weight.copy_(update.b)
    assert torch.allclose(tiny.logits(), other.logits(), rtol=0, atol=1e-11)
    tiny.loss().backward()
    other.loss().backward()
    for path, update in method.updates.items():
        for ours, theirs in ((update.a, layers[path].lora_A), (update.b, layers[path].lora_B)):
            assert torch.allclose(ours.grad, theirs["default"].weight.grad, rtol=1e-9, atol=1e-12)
            assert ours.grad.abs().max() > 1e-6


@pytest.mark.parametrize("name", ["lora", "asym", "cla", "paca", "cola", "c3la", "ba_sparse_lora"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_parts_of_one_module_with_different_ranks_keep_the_contract(lab, name, family):
    """GPT-2's q and v are rows of one module: start, merge, count and a resume bit for bit."""
    spec = replace(lab.spec(name), ranks={"v": 7, "layers.0.q": 3})
    one, two = lab.tiny(family), lab.tiny(family)
    start = one.logits().detach()
    method = lab.attach(one, spec)
    assert torch.equal(one.logits(), start)
    optimizer = lab.train(one, method, 4, total=6)
    shapes = [p.numel() for update in method.updates.values() for p in update.parameters()]
    assert method.counts()["adapter"] == sum(shapes)
    kept, facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    moments = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(one, method, 6, first=4, optimizer=optimizer)
    again = lab.attach(two, spec, seed=0)
    again.restore(kept, facts)
    other = torch.optim.AdamW(again.groups(1e-2, 1e-2, 0.0))
    other.load_state_dict({"state": moments, "param_groups": other.state_dict()["param_groups"]})
    lab.train(two, again, 6, first=4, optimizer=other)
    assert torch.equal(one.logits(), two.logits())
    one.model.eval()
    trained = one.logits().detach()
    method.merge()
    assert (one.logits() - trained).abs().max() < 1e-5 * trained.abs().max()


def test_counts_are_r_times_in_plus_out_of_each_weight(lab):
    """Not r·512·2: every weight has its own width."""
    method = lab.attach(lab.tiny("llama"), replace(lab.spec("lora", targets=["q", "v", "down"]), ranks={"down": 3}))
    q, v, down = 4 * (32 + 32), 4 * (32 + 16), 3 * (48 + 32)
    assert method.counts()["adapter"] == 2 * (q + v + down)


def test_hierarchical_ranks_are_the_tables_by_kind_and_depth(lab):
    spec = lab.spec("hierarchical")
    table = {"q": (4, 8, 16), "k": (4, 8, 16), "v": (4, 8, 16), "o": (8, 16, 32), "up": (8, 16, 32),
             "down": (16, 32, 64)}  # fmt: skip
    for target, levels in table.items():
        for layer in range(12):
            assert rank_of(spec.ranks, 1, target, layer, 12) == levels[layer // 4]
    method = lab.attach(lab.tiny("bert"), spec)  # two layers: one low, one medium
    assert {ranks_of(method)[site.path] for site in method.sites if site.target == "down"} == {16, 32}


def test_what_no_row_of_the_table_names_has_the_updates_rank_and_not_the_largest(lab):
    spec = lab.spec("hierarchical", targets=["q", "gate"], rank=5)
    spec = replace(spec, ranks={key: rank for key, rank in spec.ranks.items() if key.endswith(".q")})
    method = lab.attach(lab.tiny("llama"), spec)
    assert {ranks_of(method)[site.path] for site in method.sites if site.target == "gate"} == {5}


def test_both_ends_of_a_range_of_layers_are_in_it():
    ranks = {"layers.1-3.q": 8, "layers.5.q": 2, "q": 4}
    assert [rank_of(ranks, 1, "q", layer, 6) for layer in range(6)] == [4, 8, 8, 8, 4, 2]
    assert rank_of(ranks, 1, "v", 2, 6) == 1


def test_the_largest_rank_of_a_target_is_of_its_own_keys():
    assert largest({"layers.0.q": 9, "q": 5, "layers.low.v": 2}) == {"q": 9, "v": 2}


@pytest.mark.parametrize("depth", range(1, 40))
def test_thirds_cut_every_depth_without_a_gap(depth):
    ranks = {"layers.low.q": 1, "layers.medium.q": 2, "layers.high.q": 3}
    levels = [rank_of(ranks, 0, "q", layer, depth) for layer in range(depth)]
    assert levels == sorted(levels) and 0 not in levels
    sizes = [levels.count(level) for level in (1, 2, 3)]
    assert max(sizes) - min(sizes) <= 1 and why_not_ranks(ranks, ["q"], depth) is None


@pytest.mark.parametrize(
    "ranks, sentence",
    [
        ({"k": 8}, "lora: method.ranks: 'k' names no target of the method; it acts on q, v."),
        ({"layers.0-3.k": 8}, "lora: method.ranks: 'layers.0-3.k' names no target of the method; it acts on q, v."),
        ({"layers.2-6.q": 8}, "lora: method.ranks: 'layers.2-6.q' names layers that are not there; "
                              "the model has layers 0-5."),
        ({"layers.3-2.q": 8}, "lora: method.ranks: 'layers.3-2.q' names layers that are not there; "
                              "the model has layers 0-5."),
        ({"layers.0-3.q": 8, "layers.2.q": 4}, "lora: method.ranks: 'layers.0-3.q' and 'layers.2.q' both name q "
                                               "of layer 2."),
        ({"layers.low.q": 8, "layers.1.q": 4}, "lora: method.ranks: 'layers.low.q' and 'layers.1.q' both name q "
                                               "of layer 1."),
        ({"layer.0.q": 8}, "lora: method.ranks: 'layer.0.q' is no target; write down, layers.3.down, "
                           "layers.0-3.down or layers.low.down."),
        ({"v": 200}, "lora has rank 200, above the smallest width 192 of its targets."),
    ],
)  # fmt: skip
def test_a_key_that_names_nothing_is_one_sentence_before_anything_is_loaded(lab, ranks, sentence):
    spec = replace(lab.spec("lora"), ranks=ranks)
    assert why_not(spec, targets=TARGETS, smallest=192, depth=6) == sentence


@pytest.mark.parametrize("name", ["full", "head", "peft"])
def test_a_method_without_ranks_takes_none(lab, name):
    targets = {"q": "query", "v": "value"}
    why = why_not(replace(lab.spec(name), ranks={"q": 2}), targets=targets, head=("classifier",))
    assert why is not None and why.startswith(f"{name} takes no method.ranks: ")


def test_a_model_with_fewer_layers_than_its_card_says_is_refused_when_attached(lab):
    with pytest.raises(MethodError, match="names layers that are not there; the model has layers 0-1"):
        lab.attach(lab.tiny(), replace(lab.spec("lora"), ranks={"layers.4.q": 2}))


def method_part(*words):
    return Resolver().part("method", [assign(*word) for word in words])


def test_ranks_are_typed_on_the_command_line_and_none_are_the_id_of_before():
    given = method_part(("method", "lora"), ("method.ranks", {"q": 8, "layers.0-3.v": 32}))
    assert given.spec.ranks == {"q": 8, "layers.0-3.v": 32}
    plain = method_part(("method", "lora"))
    assert plain.spec.ranks == {} and "ranks" not in plain.plain and "ranks" not in plain.text
    assert method_part(("method", "lora"), ("method.ranks", {})).text == plain.text
    with pytest.raises(SpecError, match=r"method\.ranks\.q: 0 is not a number at least 1"):
        method_part(("method", "lora"), ("method.ranks", {"q": 0}))
