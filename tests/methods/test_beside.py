"""BitFit and bottleneck adapters: the contract of methods that update no weight matrix."""

import copy
from dataclasses import replace

import pytest
import torch

from methods.errors import MethodError
from methods.export import peft_adapter
from methods.why_not import why_not

LAYERS = ("adapter_serial", "adapter_parallel")
BESIDE = ("bitfit", *LAYERS)
FAMILIES = ("bert", "roberta", "deberta", "vit", "gpt2", "llama")
MEET = [(family, name) for family in FAMILIES for name in BESIDE if (family, name) != ("llama", "bitfit")]


@pytest.mark.parametrize(("family", "name"), MEET)
def test_the_output_is_unchanged_at_attach_and_only_the_methods_own_tensors_move(lab, family, name):
    tiny = lab.tiny(family)
    before = {n: p.clone() for n, p in tiny.model.named_parameters()}
    start = tiny.logits().detach()
    method = lab.attach(tiny, lab.spec(name))
    assert torch.equal(tiny.logits(), start)
    lab.train(tiny, method, 5)
    moved = {n for n, p in tiny.model.named_parameters() if n in before and not torch.equal(p, before[n])}
    head = {n for n in before if n.startswith(tiny.layout.head or ("no head",))}
    biases = {n for n in before if n.endswith(".bias")} - head if name == "bitfit" else set()
    assert moved <= head | biases and head <= moved and bool(moved & biases) == (name == "bitfit")
    assert (tiny.logits() - start).abs().max() > 1e-2


@pytest.mark.parametrize(("family", "name"), MEET)
def test_what_is_free_is_what_is_counted_and_every_tensor_gets_a_gradient(lab, family, name):
    tiny = lab.tiny(family)
    method = lab.attach(tiny, lab.spec(name))
    free = sum(p.numel() for p in tiny.model.parameters() if p.requires_grad)
    groups = method.groups(1.0, 1.0, 0.1)
    assert free == sum(method.counts().values()) == sum(p.numel() for g in groups for p in g["params"])
    assert all(g["weight_decay"] == 0.0 for g in groups if g["name"] == "adapter")
    lab.train(tiny, method, 1)
    tiny.loss().backward()
    silent = [n for n, p in tiny.model.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert [n for n in silent if "bias" not in n] == []  # a key's bias moves every score of a query alike


@pytest.mark.parametrize("name", BESIDE)
def test_a_fresh_model_restored_goes_on_bit_for_bit(lab, name):
    one, two = lab.tiny(), lab.tiny()
    method = lab.attach(one, lab.spec(name))
    sgd = torch.optim.SGD(method.groups(1e-2, 1e-2, 0.0))
    lab.train(one, method, 4, total=8, optimizer=sgd)
    kept = {n: t.clone() for n, t in method.tensors().items()}
    lab.train(one, method, 8, first=4, optimizer=sgd)
    again = lab.attach(two, lab.spec(name), seed=5)
    again.restore(kept, method.facts())
    lab.train(two, again, 8, first=4, optimizer=torch.optim.SGD(again.groups(1e-2, 1e-2, 0.0)))
    assert torch.equal(one.logits(), two.logits())


def test_bitfit_merges_into_plain_modules_and_keeps_its_function(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("bitfit"))
    lab.train(tiny, method, 3)
    trained = tiny.logits().detach()
    method.merge()
    plain = lab.tiny()
    plain.model.load_state_dict(tiny.model.state_dict())
    assert torch.equal(plain.logits(), trained)


def dense(layer, h):
    """The paper's formula, in the order of its symbols."""
    d, b, u, c = (t.detach().double() for t in (layer.down, layer.down_bias, layer.up, layer.up_bias))
    z = h @ d.T + b
    return layer._scale * ((torch.relu(z) if layer._scale == 4.0 else torch.nn.functional.gelu(z)) @ u.T + c)


@pytest.mark.parametrize("name", LAYERS)
def test_a_block_with_its_adapters_is_the_formula_in_float64(lab, name):
    """By hand, through the plain modules of BERT's MLP."""
    tiny, plain = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name))
    with torch.no_grad():
        for layer in method._layers.values():
            for parameter in layer.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    block, own = tiny.model.bert.encoder.layer[0], plain.model.bert.encoder.layer[0]
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    layer = block.output.dense.adapter_layer
    y = own.output.dense(own.intermediate(x))
    added = dense(layer, y if name == "adapter_serial" else x)
    expected = own.output.LayerNorm(y + added + x)
    torch.testing.assert_close(block.output(block.intermediate(x), x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_same_with_gradient_checkpointing(lab, name):
    grads = []
    for checkpointed in (False, True):
        tiny = lab.tiny(dtype=torch.float64)
        method = lab.attach(tiny, lab.spec(name))
        for layer in method._layers.values():
            layer.up.data += 0.1
        if checkpointed:
            tiny.model.gradient_checkpointing_enable({"use_reentrant": False})
        tiny.loss().backward()
        grads.append(
            torch.cat([p.grad.flatten() for p in method._layers["bert.encoder.layer.0.output.dense"].parameters()])
        )
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_the_count_is_the_papers(lab, name):
    """2·m·d + d + m for each place: 4 places, or 2 of one MLP each."""
    method = lab.attach(lab.tiny(), lab.spec(name))
    assert method.counts()["adapter"] == (4 if name == "adapter_serial" else 2) * (2 * 64 * 32 + 32 + 64)


@pytest.mark.parametrize("name", LAYERS)
def test_an_adapter_layer_is_neither_merged_nor_exported(lab, name):
    method = lab.attach(lab.tiny(), lab.spec(name))
    for act in (method.merge, lambda: peft_adapter(method)):
        with pytest.raises(MethodError, match="cannot be merged, nor exported"):
            act()


def test_what_cannot_be_is_one_sentence(lab):
    with pytest.raises(MethodError, match="LlamaForSequenceClassification has no biases to train"):
        lab.attach(lab.tiny("llama"), lab.spec("bitfit"))
    with pytest.raises(MethodError, match="biases of half precision cannot be trained"):
        lab.attach(lab.tiny(dtype=torch.bfloat16), lab.spec("bitfit"))
    targets = copy.copy(lab.tiny("gpt2").layout.targets)
    assert "has two targets" in why_not(lab.spec("adapter_parallel", targets=["down"]), targets=targets)
    assert "q is a part of one" in why_not(lab.spec("adapter_serial", targets=["q"]), targets=targets)
    assert "names no target" in why_not(lab.spec("adapter_serial", targets=[]), targets=targets)
    assert "takes no method.ranks" in why_not(replace(lab.spec("bitfit"), ranks={"q": 2}), targets=targets)
