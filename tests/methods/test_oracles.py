"""Our LoRA, LoRA+ and Asym-LoRA against the peft library, in float64: forward, gradients and a whole training path."""

import peft
import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FAMILIES = ("bert", "roberta", "deberta", "vit", "llama")
SHORT = {"bert": ["query", "value"], "roberta": ["query", "value"], "deberta": ["query_proj", "value_proj"],
         "vit": ["q_proj", "v_proj"], "llama": ["q_proj", "v_proj"]}  # fmt: skip


def theirs(lab, family, dora=False):
    """The peft library's model, its head trained as ours is."""
    tiny = lab.tiny(family, dtype=torch.float64)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=SHORT[family], use_dora=dora)
    tiny.model = peft.get_peft_model(tiny.model, config, autocast_adapter_dtype=False)
    for name, parameter in tiny.model.named_parameters():
        parameter.requires_grad_("lora_" in name or name.removeprefix("base_model.model.").startswith(tiny.layout.head))
    tiny.model.double()
    return tiny


def lora_tensors(tiny, path):
    layer = tiny.model.base_model.model.get_submodule(path)
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


def same_start(method, other, b_too):
    """The library's factors become ours, so that both start at one point."""
    generator = torch.Generator().manual_seed(1)
    for path, update in method.updates.items():
        a, b = lora_tensors(other, path)
        with torch.no_grad():
            if b_too:
                update.b.copy_(torch.randn(update.b.shape, generator=generator))
            a.copy_(update.a)
            b.copy_(update.b)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_has_the_librarys_forward_and_gradients(lab, family):
    tiny, other = lab.tiny(family, dtype=torch.float64), theirs(lab, family)
    method = lab.attach(tiny, lab.spec("lora"))
    same_start(method, other, b_too=True)
    assert torch.allclose(tiny.logits(), other.logits(), rtol=0, atol=1e-11)
    tiny.loss().backward()
    other.loss().backward()
    for path, update in method.updates.items():
        a, b = lora_tensors(other, path)
        assert torch.allclose(update.a.grad, a.grad, rtol=1e-9, atol=1e-12)
        assert torch.allclose(update.b.grad, b.grad, rtol=1e-9, atol=1e-12)
        assert a.grad.abs().max() > 1e-6 and b.grad.abs().max() > 1e-6


@pytest.mark.parametrize("ratio", [16.0, 3.0])
def test_lora_plus_follows_the_librarys_optimizer(lab, ratio):
    tiny, other = lab.tiny("llama", dtype=torch.float64), theirs(lab, "llama")
    method = lab.attach(tiny, lab.spec("lora_plus", b_over_a=ratio))
    same_start(method, other, b_too=False)
    groups = method.groups(1e-3, 1e-3, 0.0)
    lab.train(tiny, method, 6, optimizer=torch.optim.AdamW(groups))
    optimizer = create_loraplus_optimizer(
        other.model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=ratio, loraplus_weight_decay=0.0, weight_decay=0.0
    )
    for _ in range(6):
        other.loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    for path, update in method.updates.items():
        a, b = lora_tensors(other, path)
        assert torch.allclose(update.a, a, rtol=0, atol=1e-10)
        assert torch.allclose(update.b, b, rtol=0, atol=1e-10)
        assert b.abs().max() > 1e-3


def test_asym_is_the_librarys_lora_with_a_frozen(lab):
    tiny, other = lab.tiny("bert", dtype=torch.float64), theirs(lab, "bert")
    method = lab.attach(tiny, lab.spec("asym"))
    same_start(method, other, b_too=False)
    for path in method.updates:
        lora_tensors(other, path)[0].requires_grad_(False)
    lab.train(tiny, method, 5)
    optimizer = torch.optim.AdamW([p for p in other.model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    for _ in range(5):
        other.loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.allclose(tiny.logits(), other.logits(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_dora_through_our_adapter_is_the_librarys_dora(lab, family):
    """And both are its formula: m · (W0 + s·BA) / ‖W0 + s·BA‖ by row."""
    tiny = lab.tiny(family, dtype=torch.float64)
    spec = lab.spec("dora", options={"r": 4, "lora_alpha": 8, "use_dora": True})
    method = lab.attach(tiny, spec)
    lab.train(tiny, method, 4)
    other = lab.tiny(family, dtype=torch.float64)
    held = dict(tiny.model.named_parameters())
    layers = {n for n, m in tiny.model.named_modules() if hasattr(m, "lora_magnitude_vector")}
    assert len(layers) == 4
    with torch.no_grad():
        for name in layers:
            weight, a, b, m = (held[f"{name}.{part}"].double() for part in (
                "base_layer.weight", "lora_A.default.weight", "lora_B.default.weight",
                "lora_magnitude_vector.default.weight"))  # fmt: skip
            moved = weight + 2.0 * b @ a
            other.model.get_submodule(name).weight.copy_(m[:, None] * moved / moved.norm(dim=1, keepdim=True))
        for path in tiny.layout.head:
            other.model.get_submodule(path).load_state_dict(tiny.model.get_submodule(path).state_dict())
    assert (other.logits() - tiny.logits()).abs().max() < 1e-5  # the library keeps its factors in float32
    assert (lab.tiny(family, dtype=torch.float64).logits() - tiny.logits()).abs().max() > 1e-2
