"""What other people's loops do to a layer: each against the plain way of the same training."""

import copy

import peft
import pytest
import torch
from torch import nn

from methods.errors import MethodError
from methods.library import chain_step
from methods.library.chain import link_after
from methods.library.layer import LibraryLinear
from tests.methods.test_fallback import quantised

FAST = ("cla", "c3la", "lora", "rac")
CHAINS = ("c3la", "r_c3la", "cola", "rac")


def layers(model):
    return [module for module in model.modules() if isinstance(module, LibraryLinear)]


def assert_same_factors(script, one, other, atol=1e-6):
    for key, tensor in script.factors(one).items():
        torch.testing.assert_close(tensor, script.factors(other)[key], rtol=0, atol=atol, msg=key)


@pytest.mark.parametrize("name", FAST)
def test_the_fast_path_trains_as_the_plain_expression(script, name):
    """A hook on a module, as of offloading, takes away its fast path."""
    fast, plain = script.adapted(name), script.adapted(name)
    for layer in layers(plain):
        layer.base_layer.register_forward_hook(lambda module, inputs, output: None)
    script.train(fast)
    script.train(plain)
    assert_same_factors(script, fast, plain)


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}])
@pytest.mark.parametrize("name", FAST)
def test_fused_and_foreach_optimizers_train_as_the_plain_one(script, name, options):
    """Fused AdamW raises no version of a tensor: what is kept by versions goes stale."""
    one, other = script.adapted(name), script.adapted(name)
    script.train(one, optimizer=script.optimizer_of(one, **options))
    script.train(other, optimizer=script.optimizer_of(other, foreach=False))
    assert_same_factors(script, one, other)


def test_factors_that_are_written_behind_autograds_back_are_seen(script):
    model = script.adapted("cla")
    before = script.logits(model)
    for layer in layers(model):
        layer.lora_B["default"].weight.data.add_(1.0)
    after = script.logits(model)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, script.logits(copy.deepcopy(model).merge_and_unload()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAST)
def test_accumulated_gradients_are_those_of_the_whole_batch(script, name):
    def halves(model, batch):
        parts = zip(*(tensor.chunk(2) for tensor in batch.values()), strict=True)
        losses = [model(**dict(zip(batch, part, strict=True))).loss / 2 for part in parts]
        losses[0].backward()
        return losses[1]

    one, other = script.adapted(name), script.adapted(name)
    script.train(one, loss=halves)
    script.train(other)
    assert_same_factors(script, one, other, atol=1e-5)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", FAST)
def test_checkpointed_activations_give_the_same_gradients(script, name, reentrant):
    model = script.adapted(name)
    script.train(model, 3)
    expected = gradients(script, model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    found = gradients(script, model)
    assert len(found) == len(expected) >= 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def gradients(script, model):
    model.zero_grad()
    model.train()(**script.inputs()).loss.backward()
    return [p.grad.clone() for p in script.trained(model)]


@pytest.mark.parametrize("name", FAST)
def test_autocast_rounds_no_more_than_the_librarys_own_lora_does(script, name, tmp_path):
    """Gradients under bfloat16 autocast against those in float64."""
    model = script.adapted(name)
    script.train(model, 4)  # in a chain, the last link but one
    chain_step(model, 5, script.STEPS)
    exact = gradients(script, copy.deepcopy(model).double())
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(script, model)
    stock = peft.get_peft_model(script.bert(), peft.LoraConfig(r=4, lora_alpha=8, target_modules=script.QV))
    exact_stock = gradients(script, copy.deepcopy(stock).double())
    with torch.autocast("cpu", torch.bfloat16):
        found_stock = gradients(script, stock)
    assert all(g.dtype is torch.float32 for g in found)
    assert relative(found, exact) < max(0.05, 2 * relative(found_stock, exact_stock))


def relative(found, exact):
    found, exact = (torch.cat([g.double().flatten() for g in gradients]) for gradients in (found, exact))
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("name", FAST)
def test_weights_in_bfloat16_stay_to_the_bit_and_factors_are_float32(script, name):
    model = script.adapted(name, script.bert().to(torch.bfloat16))
    before = [layer.base_layer.weight.clone() for layer in layers(model)]
    script.train(model)
    assert all(torch.equal(layer.base_layer.weight, w) for layer, w in zip(layers(model), before, strict=True))
    assert all(p.dtype is torch.float32 for p in script.trained(model))
    assert all(layer.lora_B["default"].weight.any() for layer in layers(model))


@pytest.mark.parametrize("name", FAST)
def test_a_quantised_base_trains_as_its_unpacked_twin_and_is_not_merged(script, name):
    packed, twin = script.bert(), script.bert()
    for path, module in list(packed.named_modules()):
        if path.endswith(("query", "value")):
            module.weight = nn.Parameter(quantised(module.weight.detach()), requires_grad=False)
            twin.get_submodule(path).weight.data = module.weight.unpacked()
    packed, twin = script.adapted(name, packed), script.adapted(name, twin)
    script.train(packed)
    script.train(twin)
    assert_same_factors(script, packed, twin, atol=1e-5)
    with pytest.raises(MethodError, match="a quantised or sharded weight is not written; save the adapter"):
        packed.merge_and_unload()


def test_dropout_acts_in_training_and_not_in_evaluation(script):
    model = script.adapted("cla", lora_dropout=0.5)
    script.train(model)
    torch.testing.assert_close(
        script.logits(model), script.logits(copy.deepcopy(model).merge_and_unload()), rtol=1e-5, atol=1e-5
    )
    torch.manual_seed(1)
    one, other = model.train()(**script.inputs()).logits, model(**script.inputs()).logits
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", CHAINS)
def test_a_finished_link_never_moves_again_and_the_next_starts_afresh(script, name):
    model = script.adapted(name)
    optimizer = script.train(model, 2)
    first = script.factors(model)
    assert not any(optimizer.state.get(p) for p in script.trained(model))  # step 2 of 6 ended a link
    script.train(model, 4, optimizer, first=2)
    for key, now in script.factors(model).items():
        blocks = zip(now.chunk(3, int("lora_B" in key)), first[key].chunk(3, int("lora_B" in key)), strict=True)
        moved = [not torch.equal(one, other) for one, other in blocks]
        assert moved == ([False, True, False] if "lora_B" in key or name == "cola" else [False] * 3)


@pytest.mark.parametrize(
    "links, total, ends", [(3, 6, [2, 4]), (3, 10, [3, 7]), (2, 5, [2]), (1, 4, []), (4, 4, [1, 2, 3])]
)
def test_links_end_where_those_of_the_harness_do(links, total, ends):
    """round(n · total / links), and never at the last step (study, §1.3)."""
    now = [link_after(step, total, links) for step in range(total + 1)]
    assert [step for step in range(1, total + 1) if now[step] > now[step - 1]] == ends


def test_columns_that_come_twice_are_added_up(script):
    """Three links of 16 columns of 32: the third comes round to the columns of the first."""
    model = script.adapted("c3la", r=16, lora_alpha=16)
    script.train(model)
    torch.testing.assert_close(
        script.logits(model), script.logits(copy.deepcopy(model).merge_and_unload()), rtol=1e-5, atol=1e-5
    )


def test_a_chain_without_its_steps_is_refused_in_the_first_forward(script):
    model = script.adapted("c3la").train()
    with pytest.raises(MethodError, match="c3la is a chain: give the trainer ChainCallback"):
        model(**script.inputs())


def test_a_chain_under_weight_decay_is_refused(script):
    model = script.adapted("rac")
    with pytest.raises(MethodError, match=r"weight_decay=0.1 would change a chain's finished links; set it to 0"):
        chain_step(model, 0, 6, torch.optim.AdamW(script.trained(model), weight_decay=0.1))


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"use_dora": True}, "use_dora is no option here"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is no option here"),
        ({"links": 0}, "links=0; a chain has one link or more"),
        ({"use_rslora": True}, "use_rslora would scale by the rank of all links"),
    ],
)
def test_options_that_the_method_decides_are_refused(script, options, reason):
    with pytest.raises(MethodError, match=reason):
        script.config("c3la", **options)


def test_more_columns_than_a_weight_has_are_refused(script):
    with pytest.raises(MethodError, match="has 32 input columns, fewer than rank 33"):
        script.adapted("cla", r=33)


def test_a_peft_without_the_hook_is_named(script, monkeypatch):
    monkeypatch.delattr(peft.LoraConfig, "_register_custom_module")
    with pytest.raises(MethodError, match=r"peft \S+ has no hook for layers of other packages; 0.20 to 0.21 have it"):
        script.config("cla")
