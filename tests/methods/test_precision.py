"""bfloat16: autocast over float32 weights, and bfloat16 weights under float32 adapters."""

import pytest
import torch
from torch import nn

from methods.method import Progress
from methods.sites import AdapterSite
from methods.spec import Columns, LowRank
from methods.update.columns import ColumnsUpdate
from methods.update.low_rank import LowRankUpdate

OUT, IN, RANK = 9, 7, 3


@pytest.mark.parametrize("name", ["lora", "asym", "asym_b", "cla"])
@pytest.mark.parametrize("family", ["roberta", "gpt2", "llama"])
def test_bf16_autocast_gives_bf16_close_gradients_in_float32(lab, name, family):
    grads = []
    for enabled in (False, True):
        tiny = lab.tiny(family)
        method = lab.attach(tiny, lab.spec(name))
        lab.train(tiny, method, 2, total=9)
        tiny.autocast = enabled
        tiny.loss().backward()
        trained = [p for update in method.updates.values() for p in update.parameters()]
        assert {p.grad.dtype for p in trained} == {torch.float32}
        grads.append(torch.cat([p.grad.flatten() for p in trained]))
    assert torch.cosine_similarity(*grads, dim=0) > 0.99
    assert not torch.equal(*grads)


@pytest.mark.parametrize("name", ["lora", "cla", "c3la", "cola", "paca", "full"])
def test_bf16_weights_train_and_merge_with_one_rounding(lab, name):
    tiny = lab.tiny("llama", dtype=torch.bfloat16)
    tiny.autocast = True
    start = tiny.logits().detach()
    method = lab.attach(tiny, lab.spec(name))
    lab.train(tiny, method, 6)
    trained = tiny.logits().float()
    method.merge()
    merged = tiny.logits().float()
    assert all(p.dtype == torch.bfloat16 for p in tiny.model.parameters())
    assert (trained - start).abs().max() > 0.1
    assert (merged - trained).abs().max() < 0.05 * trained.abs().max()


@pytest.mark.parametrize("name", ["full", "head", "lora"])
def test_bf16_weights_that_are_trained_themselves_lose_nothing_from_step_to_step(lab, name):
    """A thousand steps far below bfloat16's resolution add up, and reach the weights rounded once."""
    tiny = lab.tiny("llama", dtype=torch.bfloat16)
    start = {name: parameter.float() for name, parameter in tiny.model.named_parameters()}
    method = lab.attach(tiny, lab.spec(name, targets=["q"]))
    trained = [p for group in method.groups(1e-3, 1e-3, 0.0) if group["name"] != "adapter" for p in group["params"]]
    with torch.no_grad():
        for _ in range(1000):
            torch._foreach_add_(trained, 1e-4)
    method.merge()
    moved = {id(parameter) for parameter in trained}
    assert moved
    for name, parameter in tiny.model.named_parameters():
        step = 0.1 if id(parameter) in moved else 0.0
        assert parameter.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.float(), start[name] + step, rtol=2**-8, atol=1e-4)


def test_bf16_columns_lose_nothing_from_step_to_step():
    """A thousand steps far below bfloat16's resolution add up in B, and reach W rounded once."""
    linear = nn.Linear(IN, OUT).to(torch.bfloat16).requires_grad_(False)
    nn.init.ones_(linear.weight)
    update = ColumnsUpdate(
        Columns("columns", RANK, 2.0 * RANK, "first", "zero"), AdapterSite("x", "x", linear, 0, OUT, True)
    )
    update.begin(lambda *use: torch.Generator(), 0)
    for step in range(1000):
        with torch.no_grad():
            update.b += 1e-4  # s·1e-4 is below half a bfloat16 step at 1 (2^-8): written alone it would vanish
        update.after_step(Progress(step, 1000, 1000))
    assert torch.equal(linear.weight[:, :RANK], torch.full((OUT, RANK), 1.2, dtype=torch.bfloat16))
    assert torch.equal(linear.weight[:, RANK:], torch.ones(OUT, IN - RANK, dtype=torch.bfloat16))


def test_bf16_chains_keep_what_single_merges_would_round_away(lab):
    """Ten links, each below bfloat16's resolution: the float32 value of W carries them."""
    linear = nn.Linear(IN, OUT).to(torch.bfloat16).requires_grad_(False)
    nn.init.ones_(linear.weight)
    spec = LowRank("low_rank", 1, 1.0, True, True, "kaiming_uniform", "zero")
    update = LowRankUpdate(spec, AdapterSite("x", "x", linear, 0, OUT, True))
    for _ in range(10):
        with torch.no_grad():
            update.a.fill_(1.0)
            update.b.fill_(2e-3)
        update.end()
    assert torch.equal(linear.weight, torch.full((OUT, IN), 1.02, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", ["cola", "rac", "c3la", "cpaca"])
def test_a_bf16_chain_put_back_goes_on_bit_for_bit(lab, name):
    one, two = (lab.tiny("llama", dtype=torch.bfloat16) for _ in range(2))
    method = lab.attach(one, lab.spec(name))
    lab.train(one, method, 7, total=9)
    again = lab.attach(two, lab.spec(name), seed=5)
    again.restore({n: t.clone() for n, t in method.tensors().items()}, method.facts())
    assert torch.equal(one.logits(), two.logits())
    for ours in (method, again):
        ours.merge()
    assert all(torch.equal(site.weight, twin.weight) for site, twin in zip(method.sites, again.sites, strict=True))
