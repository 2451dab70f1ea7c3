"""Every method takes real steps on a device: in bfloat16 autocast, with half-precision weights, and compiled."""

import pytest
import torch

from harness.probe.backbone import Backbone, build_backbone
from harness.probe.entrants import Entrant, method_entrant
from harness.probe.request import known_methods, read_request
from harness.probe.run import probe

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICE = torch.device("cuda")
METHODS = [name for name in known_methods() if name != "peft"]  # "peft" alone names no method of that library


def _backbone(model: str, dtype: str) -> Backbone:
    request = read_request([f"model={model}", "model.size=tiny"])
    backbone = build_backbone(request.model, batch=4, length=16, layers=None, device=DEVICE, seed=0)
    backbone.model.to(getattr(torch, dtype))
    return backbone


def _entrant(method: str, backbone: Backbone, model: str, autocast: bool) -> Entrant:
    spec = read_request([f"method={method}", f"model={model}", "model.size=tiny", "targets=all"]).methods[0]
    return method_entrant(spec, backbone, lambda: torch.autocast("cuda", torch.bfloat16, enabled=autocast), seed=0)


def _trained(entrant: Entrant) -> list[torch.Tensor]:
    return [p for group in entrant.optimizer.param_groups for p in group["params"]]


@pytest.mark.filterwarnings("ignore:Unsupported layer type")  # of peft, for the norms that LN-tuning trains
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("model", "dtype"), [("minilm", "float32"), ("tinyllama", "bfloat16")])
def test_every_method_trains_in_bfloat16_autocast(method: str, model: str, dtype: str) -> None:
    if method == "head" and model == "tinyllama":
        pytest.skip("a language model has no head that is trained apart")
    entrant = _entrant(method, _backbone(model, dtype), model, autocast=True)
    for group in entrant.optimizer.param_groups:
        group["lr"] = 1e-3
    before = [parameter.detach().clone() for parameter in _trained(entrant)]
    losses = [entrant.loss().item()]
    for _ in range(10):
        entrant.step()
    losses.append(entrant.loss().item())
    assert all(torch.isfinite(parameter).all() for parameter in _trained(entrant))
    assert any(not torch.equal(was, now) for was, now in zip(before, _trained(entrant), strict=True))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("method", ["lora", "asym", "cla", "r_cla", "paca"])
def test_autocast_agrees_with_float32(method: str) -> None:
    writable, autocast = (_entrant(method, _backbone("minilm", "float32"), "minilm", on) for on in (False, True))
    for entrant in (writable, autocast):
        entrant.step()  # B is no longer zero
        entrant.forward_backward()
    for exact, rounded in zip(_trained(writable), _trained(autocast), strict=True):
        assert rounded.grad is not None and exact.grad is not None and rounded.grad.dtype == rounded.dtype
        scale = exact.grad.abs().max().clamp_min(1e-6)
        assert (exact.grad - rounded.grad).abs().max() / scale < 0.1


@pytest.mark.parametrize("method", ["lora", "asym", "cla", "c3la", "paca", "full"])
def test_a_compiled_model_gives_the_same_loss_and_gradients(method: str) -> None:
    backbone = _backbone("minilm", "float32")
    entrant = _entrant(method, backbone, "minilm", autocast=False)
    compiled = torch.compile(entrant.model)
    writable = entrant.forward_backward()
    gradients = [parameter.grad.clone() for parameter in _trained(entrant)]
    entrant.optimizer.zero_grad(set_to_none=True)
    loss = backbone.loss(compiled)
    loss.backward()
    torch.testing.assert_close(loss, writable, rtol=1e-4, atol=1e-5)
    for parameter, gradient in zip(_trained(entrant), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-2, atol=1e-5)


def test_a_compiled_column_update_sees_the_columns_that_were_written() -> None:
    """W changes in place between steps: a compiled graph must read it anew."""
    backbone = _backbone("minilm", "float32")
    entrant = _entrant("cla", backbone, "minilm", autocast=False)
    compiled = torch.compile(entrant.model)
    backbone.loss(compiled).backward()
    for group in entrant.optimizer.param_groups:
        group["lr"] = 1e-1
    entrant.optimizer.step()
    entrant.after_step()
    torch.testing.assert_close(backbone.loss(compiled), entrant.loss(), rtol=1e-4, atol=1e-5)


def test_the_probe_measures_allocated_memory_and_events() -> None:
    words = [
        "method=lora,cla",
        "model=minilm",
        "model.size=tiny",
        "batch=4",
        "length=16",
        "steps=4",
        "rounds=2",
        "device=cuda",
    ]
    found = probe(read_request(words))
    for row in found.rows:
        assert row.why is None and row.memory["peak_allocated"].value > 0
        assert row.speed["step_ms_median"].value > 0
