"""Curvature by products, against dense Hessians in float64."""

import pytest
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import ArpackNoConvergence
from torch import nn
from torch.nn.utils import parameters_to_vector

from harness.diagnostics.curvature import Hessian, largest_eigenvalue, trace


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=_rng(seed), dtype=torch.float64)


def _quadratic(matrix):
    x = _normal(len(matrix), seed=9).requires_grad_()
    return Hessian([lambda: x @ matrix @ x / 2], [x])


class _Attention(nn.Module):
    """Two layers around the fused attention of PyTorch."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(3, 12), nn.Linear(4, 2)

    def forward(self, x):
        q, k, v = self.into(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v)).mean(1)


def _net(seed=0):
    torch.manual_seed(seed)
    return _Attention().double()


def _hessian(net, parts):
    x, y = _normal(8, 5, 3), torch.arange(8) % 2
    losses = [
        lambda rows=rows: F.cross_entropy(net(x[rows]), y[rows], reduction="sum") / len(x)
        for rows in torch.arange(8).chunk(parts)
    ]
    return Hessian(losses, list(net.parameters()))


@pytest.fixture(scope="module")
def oracle():
    """The dense Hessian of the net's loss, row by row from its gradient, with attention spelled out."""
    net = _net()
    x, y = _normal(8, 5, 3), torch.arange(8) % 2
    q, k, v = net.into(x).chunk(3, -1)
    logits = net.out(torch.softmax(q @ k.mT / 2, -1) @ v).mean(1)
    parameters = list(net.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(logits, y), parameters, create_graph=True)
    rows = [
        torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
        for entry in parameters_to_vector(gradients)
    ]
    return torch.stack([parameters_to_vector(row) for row in rows])


@pytest.mark.parametrize("parts", [1, 3])
def test_a_product_is_that_of_the_dense_hessian_in_however_many_batches(oracle, parts):
    hessian, vector = _hessian(_net(), parts), _normal(len(oracle), seed=2)
    assert hessian.size == len(oracle) == 58
    with torch.no_grad():
        assert torch.allclose(hessian.times(vector), oracle @ vector, atol=1e-12)


def test_the_largest_eigenvalue_and_the_trace_of_a_net_are_those_of_the_dense_hessian(oracle):
    hessian = _hessian(_net(), 2)
    largest = float(torch.linalg.eigvalsh(oracle)[-1])
    assert largest_eigenvalue(hessian, _rng()) == pytest.approx(largest, rel=1e-4)
    estimate = trace(hessian, 100, _rng())
    assert abs(estimate.trace - float(oracle.trace())) < 4 * estimate.error


def test_the_largest_eigenvalue_is_not_the_largest_in_magnitude():
    q = torch.linalg.qr(_normal(12, 12)).Q
    values = torch.linspace(-9, 2, 12, dtype=torch.float64)
    assert largest_eigenvalue(_quadratic((q * values) @ q.T), _rng()) == pytest.approx(2, rel=1e-4)


def test_of_a_diagonal_quadratic_the_trace_is_exact():
    estimate = trace(_quadratic(torch.diag(torch.arange(5, dtype=torch.float64))), 3, _rng())
    assert (estimate.trace, estimate.error) == (pytest.approx(10), pytest.approx(0, abs=1e-12))


def test_the_standard_error_of_the_trace_is_how_far_repeated_estimates_lie_apart():
    half = _normal(10, 10)
    hessian = _quadratic(half + half.T)
    estimates = [trace(hessian, 20, _rng(seed)) for seed in range(100)]
    apart = torch.tensor([estimate.trace for estimate in estimates]).std()
    assert float(apart) == pytest.approx(sum(estimate.error for estimate in estimates) / 100, rel=0.25)


def test_one_parameter_and_a_linear_loss_have_a_hessian_too():
    x = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    assert largest_eigenvalue(Hessian([lambda: (x**3).sum()], [x]), _rng()) == pytest.approx(18)
    weights = _normal(4)
    y = _normal(4, seed=1).requires_grad_()
    assert Hessian([lambda: weights @ y], [y]).times(weights).tolist() == [0, 0, 0, 0]


def test_a_single_draw_has_no_standard_error():
    with pytest.raises(ValueError, match="at least 2"):
        trace(_quadratic(torch.eye(3, dtype=torch.float64)), 1, _rng())


def test_a_value_that_does_not_settle_is_no_number():
    values = torch.linspace(0.999, 1, 200, dtype=torch.float64)
    with pytest.raises(ArpackNoConvergence):
        largest_eigenvalue(_quadratic(torch.diag(values)), _rng(), 1e-9, most=20)


def test_the_gradient_of_one_batch_is_differentiated_from_one_graph():
    asked = []
    x = _normal(6).requires_grad_()
    hessian = Hessian([lambda: asked.append(1) or (x**4).sum()], [x])
    for seed in range(3):
        vector = _normal(6, seed=seed)
        assert torch.allclose(hessian.times(vector), 12 * x.detach() ** 2 * vector)
    assert len(asked) == 1
