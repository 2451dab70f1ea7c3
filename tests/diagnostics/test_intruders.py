"""Intruder dimensions, against the decomposition of W0 + ΔW in float64."""

import pytest
import torch
from scipy.linalg import hadamard

from harness.diagnostics import intruders as module
from harness.diagnostics.factors import Factors, column_factors, dense
from harness.diagnostics.intruders import THRESHOLDS, decompose, intruders, largest_cosines

SHAPES = [(48, 48), (32, 80), (80, 32)]


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _brute_force(weight, change):
    """By the definition: every |cos| of every pair of left singular vectors."""
    before = torch.linalg.svd(weight, full_matrices=False).U
    after = torch.linalg.svd(weight + dense(change), full_matrices=False).U
    return (before.T @ after).abs().amax(0)


def _changes(out, width):
    columns = torch.zeros(out, width, dtype=torch.float64)
    columns[:, [1, 7, 12]] = _normal(out, 3, seed=3)
    selected = column_factors(columns)
    assert selected is not None
    return {
        "factors": Factors(_normal(out, 4, seed=1), 0.3 * _normal(4, width, seed=2)),
        "columns": selected,
        "dense": 0.5 * _normal(out, width, seed=4),
        "nothing": torch.zeros(out, width, dtype=torch.float64),
    }


@pytest.fixture
def no_plain_svd(monkeypatch):
    def refuse(*_):
        raise AssertionError("W was decomposed as it stands")

    monkeypatch.setattr(module, "_by_plain_svd", refuse)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["factors", "columns", "dense", "nothing"])
@pytest.mark.parametrize("most", [None, 2, 10])
@pytest.mark.usefixtures("no_plain_svd")
def test_the_largest_cosines_are_those_of_the_decomposed_sum(shape, kind, most):
    weight, change = _normal(*shape), _changes(*shape)[kind]
    cosines = largest_cosines(decompose(weight), change, most)
    assert torch.allclose(cosines, _brute_force(weight, change)[:most], rtol=0, atol=1e-9)


@pytest.mark.parametrize("most", [None, 2])
def test_float32_weights_are_decomposed_in_float64(most):
    weight, change = _normal(48, 48).float(), Factors(_normal(48, 3, seed=1).float(), _normal(3, 48, seed=2).float())
    cosines = largest_cosines(decompose(weight), change, most)
    assert torch.allclose(cosines, _brute_force(weight.double(), change)[:most], rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_too_close_for_squares_are_decomposed_as_they_stand(shape):
    u, _, vt = torch.linalg.svd(_normal(*shape), full_matrices=False)
    spectrum = torch.logspace(0, -9, len(vt), dtype=torch.float64)
    weight = (u * spectrum) @ vt
    change = Factors(1e-7 * _normal(shape[0], 2, seed=1), 1e-3 * _normal(2, shape[1], seed=2))
    cosines = largest_cosines(decompose(weight), change)
    assert torch.allclose(cosines, _brute_force(weight, change), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(48, 48), (32, 80)])
@pytest.mark.parametrize("planted", [0, 1, 2, 3])
def test_planted_intruders_are_counted(shape, planted):
    """Each is a direction of equal shares of sixteen left singular vectors: a cosine of 1/4 with every one of them."""
    u, _, vt = torch.linalg.svd(_normal(*shape), full_matrices=False)
    weight = (u * torch.linspace(1, 2, len(vt), dtype=torch.float64)) @ vt
    directions = u[:, :16] @ torch.from_numpy(hadamard(16)[:, :planted]).double() / 4
    change = Factors(directions * torch.tensor([900.0, 600.0, 300.0][:planted], dtype=torch.float64), vt[:planted])
    base = decompose(weight)
    for most in (2, 10):
        assert intruders(largest_cosines(base, change, most), [0.2, 0.3]) == [0, min(planted, most)]
    # among all vectors, those near the planted ones are turned too: what the definition counts is what is counted
    assert intruders(largest_cosines(base, change), THRESHOLDS) == intruders(_brute_force(weight, change), THRESHOLDS)


def test_an_unchanged_weight_has_no_intruder_and_the_curve_rises():
    weight = _normal(40, 40)
    base = decompose(weight)
    for nothing in (torch.zeros(40, 40), Factors(torch.zeros(40, 0), torch.zeros(0, 40))):
        assert intruders(largest_cosines(base, nothing)) == intruders(largest_cosines(base, nothing, 2)) == [0] * 21
    curve = intruders(largest_cosines(base, _normal(40, 40, seed=1)))
    assert curve == sorted(curve) and curve[0] == 0 and curve[-1] == 40


def test_columns_become_factors_only_where_they_are_few():
    change = torch.zeros(6, 32)
    change[:, [3, 9]] = 1.5
    factors = column_factors(change)
    assert factors is not None and factors.a.shape == (2, 32)
    assert torch.equal(dense(factors), change.double())
    nothing = column_factors(torch.zeros(6, 32))
    assert nothing is not None and nothing.a.shape == (0, 32)
    assert column_factors(torch.ones(6, 32)) is None
