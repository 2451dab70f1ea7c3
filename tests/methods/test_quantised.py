"""Methods beside weights that bitsandbytes has packed: the very training of the same weights read back and plain."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from harness.models.quantise import dequantise, pack
from methods.errors import MethodError
from methods.export import peft_adapter
from methods.quantised import dequantised, frozen_product, quantised_modules, rounded, scales_of

pytest.importorskip("bitsandbytes")
NAMES = ("lora", "asym", "rac", "cola", "dylora", "sora", "sine_lora", "ba_sparse_lora", "cla", "r_cla", "c3la",
         "r_c3la", "paca", "cpaca", "head")  # fmt: skip
NF4 = SimpleNamespace(quantization="nf4", double_quantization=True, compute_dtype=None, dtype="float32")
INT8 = SimpleNamespace(quantization="int8", double_quantization=False, compute_dtype=None, dtype="float32")


@pytest.fixture(scope="module")
def packed_models():
    return {}


@pytest.fixture
def both(lab, packed_models):
    """A family's model with packed weights, and one with the same weights read back."""

    def make(family="llama", how=NF4):
        key = (family, how.quantization)
        if key not in packed_models:
            tiny = lab.tiny(family)
            packed_models[key] = replace(tiny, model=pack(tiny.model, how, tiny.layout.head).train())
        packed, plain = (replace(packed_models[key], model=copy.deepcopy(packed_models[key].model)) for _ in "ab")
        dequantise(plain.model)
        return packed, plain

    return make


def codes(model):
    return {name: module.weight.detach().clone() for name, module in quantised_modules(model)}


def gradients(tiny, method):
    tiny.loss().backward()
    return [p.grad.clone() for group in method.groups(1e-3, 1e-3, 0.0) for p in group["params"]]


@pytest.mark.parametrize("how", [NF4, INT8], ids=["nf4", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_trained_tensors_are_those_of_the_weights_read_back(lab, both, name, how):
    packed, plain = both(how=how)
    before = codes(packed.model)
    ours, reference = lab.attach(packed, lab.spec(name)), lab.attach(plain, lab.spec(name))
    for mine, theirs in zip(gradients(packed, ours), gradients(plain, reference), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    for tiny in (packed, plain):
        tiny.model.zero_grad()
    lab.train(packed, ours, 6, lr=1e-3)
    lab.train(plain, reference, 6, lr=1e-3)
    assert ours.tensors().keys() == reference.tensors().keys()
    for key, tensor in ours.tensors().items():
        assert torch.allclose(tensor, reference.tensors()[key], atol=1e-4), key
    assert (packed.logits() - plain.logits()).abs().max() < 1e-3
    after = codes(packed.model)
    assert all(torch.equal(after[module], were) for module, were in before.items()) and len(before) == 14


@pytest.mark.parametrize("family", ["gpt2", "deberta"])
def test_parts_of_a_fused_projection_and_shared_projections_are_trained_beside_packed_weights(lab, both, family):
    packed, plain = both(family)
    ours, reference = lab.attach(packed, lab.spec("c3la")), lab.attach(plain, lab.spec("c3la"))
    lab.train(packed, ours, 6, lr=1e-3)
    lab.train(plain, reference, 6, lr=1e-3)
    assert (packed.logits() - plain.logits()).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["lora", "cola", "c3la", "paca"])
def test_a_trained_state_merges_into_the_weights_read_back_and_exports_alike(lab, both, name):
    packed, plain = both()
    ours, other = lab.attach(packed, lab.spec(name)), lab.attach(plain, lab.spec(name))
    lab.train(packed, ours, 6, lr=1e-3)
    with pytest.raises(MethodError, match="sharded or quantised"):
        ours.merge()
    other.restore({key: tensor.clone() for key, tensor in ours.tensors().items()}, ours.facts())
    (config, mine), (same, theirs) = peft_adapter(ours), peft_adapter(other)
    assert config == same
    for module in {key.rpartition(".lora_")[0] for key in mine if ".lora_" in key}:
        delta = [t[f"{module}.lora_B.weight"] @ t[f"{module}.lora_A.weight"] for t in (mine, theirs)]
        assert torch.allclose(*delta, atol=1e-5)
    other.merge()
    assert not list(quantised_modules(plain.model))
    packed.model.eval(), plain.model.eval()
    assert (packed.logits() - plain.logits()).abs().max() < 1e-4


def test_a_chain_beside_packed_weights_is_restored_with_its_finished_links(lab, both):
    packed, _ = both()
    again, _ = both()
    ours, other = lab.attach(packed, lab.spec("cola")), lab.attach(again, lab.spec("cola"))
    lab.train(packed, ours, 6, lr=1e-3)
    for _ in range(2):  # a second time, too: what was there is put aside
        other.restore({key: tensor.clone() for key, tensor in ours.tensors().items()}, ours.facts())
    assert torch.equal(packed.logits(), again.logits())


def test_full_fine_tuning_of_packed_weights_is_refused(lab, both):
    with pytest.raises(MethodError, match="full trains every weight, and those of this model are quantised"):
        lab.attach(both()[0], lab.spec("full"))


@pytest.mark.parametrize("how", [NF4, INT8], ids=["nf4", "int8"])
def test_a_packed_product_is_that_of_the_weight_read_back_in_training_and_evaluation(both, how):
    module = dict(quantised_modules(both("gpt2", how)[0].model))["transformer.h.0.attn.c_attn"]
    weight, bias = dequantised(module).double(), module.bias.detach().double()
    x = torch.randn(5, module.in_features, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(module(x), x @ weight.t() + bias, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda each: frozen_product(module, each), (x,))
    with torch.no_grad():
        assert torch.equal(module.eval()(x), module.train()(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x.float()).dtype is torch.bfloat16


@pytest.mark.parametrize("how", [NF4, INT8], ids=["nf4", "int8"])
def test_what_was_read_back_packs_into_itself_and_an_update_does_not(both, how):
    module = dict(quantised_modules(both("llama", how)[0].model))["model.layers.0.self_attn.q_proj"]
    weight = dequantised(module)
    size = 1e-3 * weight.norm()
    assert (rounded(module, weight) - weight).norm() < size
    update = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    update *= size / update.norm()
    assert (rounded(module, weight + update) - weight - update).norm() > 0.5 * size


def test_scales_are_counted_beside_the_codes(both):
    module = dict(quantised_modules(both()[0].model))["model.layers.0.self_attn.q_proj"]
    sizes = {tensor.numel() * tensor.element_size() for tensor in scales_of(module)}
    assert module.weight.numel() == 32 * 32 // 2 and 32 * 32 // 64 in sizes
