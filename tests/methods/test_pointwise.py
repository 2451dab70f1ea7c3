"""Sine-LoRA and our reading of LR-LoRA against their formulas in float64, and what their start must not be."""

import numpy as np
import pytest
import torch

from methods.update.pointwise import PointwiseUpdate
from methods.update.sinc import SincUpdate, fitted_heights
from methods.update.spectrum import ranks_of


def attached(lab, name, **changes):
    """A float64 Llama, whose v is not square, with every factor off its start."""
    tiny = lab.tiny("llama", dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name, **changes))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for update in method.updates.values():
            for parameter in update.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return tiny, method


def sine(update, product):
    return np.sin(200.0 * product) / np.sqrt(update.site.in_features)


def sincs(update, product):
    """φ(z) - φ(0) by the formula, knot by knot."""
    heights, widths = update.height.detach().numpy(), np.log1p(np.exp(update.width.detach().numpy()))
    total = np.zeros_like(product)
    for height, omega, centre in zip(heights, widths, np.linspace(-2, 2, 8), strict=True):
        at, zero = omega * (product - centre), omega * (0.0 - centre)
        total += height * (np.sin(at) / at - np.sin(zero) / zero)
    return total


@pytest.mark.parametrize("name, formula", [("sine_lora", sine), ("lr_lora", sincs)])
def test_the_update_is_its_formula_with_the_gradients_of_finite_differences(lab, name, formula):
    _, method = attached(lab, name)
    update = next(u for u in method.updates.values() if u.site.target == "v")
    assert update.site.out_features != update.site.in_features
    product = update.b.detach().numpy() @ update.a.detach().numpy()
    expected = 2.0 * formula(update, product)  # s = alpha / rank
    np.testing.assert_allclose(update.delta().detach().numpy(), expected, rtol=1e-9, atol=1e-9)
    x = torch.randn(2, 3, update.site.in_features, dtype=torch.float64)
    np.testing.assert_allclose(update.branch(x).detach().numpy(), x.numpy() @ expected.T, rtol=1e-9, atol=1e-8)
    own = dict(update.named_parameters())
    scale = 0.01 if name == "sine_lora" else 1.0  # ω = 200 would need steps below what float64 resolves
    inputs = [(scale * p.detach()).requires_grad_() for p in own.values()]

    def branch(*values):
        return torch.func.functional_call(Branch(update), dict(zip(own, values, strict=True)), x)

    assert torch.autograd.gradcheck(branch, inputs)


class Branch(torch.nn.Module):
    """The update's branch as a forward pass, for functional_call; it holds the update's own parameters."""

    def __init__(self, update):
        super().__init__()
        self._parameters = update._parameters
        self._call = update.branch

    def forward(self, x):
        return self._call(x)


@pytest.mark.parametrize("knots, span", [(8, 2.0), (6, 1.0), (12, 3.0)])
def test_the_start_is_close_to_the_identity_so_that_training_begins_as_loras(knots, span):
    heights = fitted_heights(knots, span)
    centres = torch.linspace(-span, span, knots, dtype=torch.float64)
    z = torch.linspace(-span, span, 101, dtype=torch.float64)
    phi = (heights * torch.sinc((z[:, None] - centres) / np.pi)).sum(1)
    zero = (heights * torch.sinc(-centres / np.pi)).sum()
    assert (phi - zero - z).abs().max() < 0.02 * span


def test_the_first_gradient_of_b_is_loras_and_is_zero_without_the_fitted_start(lab):
    """The hazard of heights at zero with even centres: B stays at zero, whatever the data."""
    gradients = {}
    for name in ("lora", "lr_lora", "zero"):
        tiny = lab.tiny(dtype=torch.float64)
        method = lab.attach(tiny, lab.spec("lr_lora" if name == "zero" else name))
        for update in method.updates.values():
            if name == "zero":
                update.height.data.zero_()
        tiny.loss().backward()
        gradients[name] = torch.cat([update.b.grad.flatten() for update in method.updates.values()])
    assert gradients["zero"].abs().max() == 0
    assert torch.allclose(gradients["lr_lora"], gradients["lora"], rtol=0.02)
    assert gradients["lora"].abs().max() > 1e-6


def test_an_identity_in_place_of_phi_is_lora(lab, monkeypatch):
    monkeypatch.setattr(SincUpdate, "entries", lambda self, product: product)
    outputs = []
    for name in ("lora", "lr_lora"):
        tiny = lab.tiny(dtype=torch.float64)
        method = lab.attach(tiny, lab.spec(name))
        factors = [p for update in method.updates.values() for p in (update.a, update.b)]
        optimizer = torch.optim.SGD(factors, 0.1)
        lab.train(tiny, method, 3, optimizer=optimizer)
        outputs.append(tiny.logits())
    assert torch.allclose(*outputs, atol=1e-10)


@pytest.mark.parametrize("name", ["sine_lora", "lr_lora"])
def test_the_record_has_the_stable_and_the_numerical_rank_of_every_weight(lab, name):
    """f lifts the numerical rank above that of B·A; both against numpy's singular values."""
    _, method = attached(lab, name)
    (entry,) = method.history()
    assert entry["event"] == "ranks" and set(entry["sites"]) == set(method.updates)
    for path, update in method.updates.items():
        values = np.linalg.svd(update.delta().detach().numpy(), compute_uv=False)
        assert entry["sites"][path]["stable_rank"] == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-6)
        assert entry["sites"][path]["numerical_rank"] == (values > 1e-4 * values[0]).sum() > 4


def test_a_zero_matrix_has_no_rank_and_an_identity_all():
    assert ranks_of(torch.zeros(3, 5)) == {"stable_rank": 0.0, "numerical_rank": 0}
    assert ranks_of(torch.eye(4, 6)) == {"stable_rank": pytest.approx(4.0), "numerical_rank": 4}


@pytest.mark.parametrize("name", ["sine_lora", "lr_lora"])
def test_autocast_does_not_round_the_argument_of_f(lab, name):
    _, method = attached(lab, name)
    update = next(iter(method.updates.values())).float()
    assert isinstance(update, PointwiseUpdate)
    plain = update.delta()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(update.delta(), plain) and update.delta().dtype == torch.float32
