"""Subspace similarity and amplification, against their definitions, planted cases and scipy's principal angles."""

import pytest
import torch
from scipy.linalg import subspace_angles

from harness.diagnostics.factors import Factors, dense
from harness.diagnostics.intruders import decompose
from harness.diagnostics.subspaces import amplification, chance, left_directions, right_directions, similarity


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _basis(dimension, count, seed):
    return torch.linalg.qr(_normal(dimension, count, seed=seed)).Q


def test_equal_subspaces_have_similarity_one_and_orthogonal_ones_zero():
    basis = _basis(20, 8, 0)
    turned = basis @ _basis(8, 8, 1)
    assert torch.allclose(similarity(basis, basis).diagonal(), torch.ones(8, dtype=torch.float64))
    assert similarity(basis, turned)[-1, -1] == pytest.approx(1)
    assert float(similarity(basis[:, :4], basis[:, 4:]).max()) == pytest.approx(0, abs=1e-12)


def test_similarity_is_the_mean_squared_cosine_of_the_principal_angles():
    first, second = _basis(12, 5, 0), _basis(12, 7, 1)
    grid = similarity(first, second)
    assert grid.shape == (5, 7)
    for i, j in [(1, 1), (2, 6), (5, 3), (5, 7)]:
        angles = torch.from_numpy(subspace_angles(first[:, :i].numpy(), second[:, :j].numpy()))
        assert grid[i - 1, j - 1] == pytest.approx(float(angles.cos().square().mean()))
    assert torch.allclose(grid, similarity(second, first).T)


def test_independent_subspaces_have_the_chance_level_on_average():
    draws = torch.stack([similarity(_basis(32, 4, 2 * draw), _basis(32, 8, 2 * draw + 1)) for draw in range(300)])
    error = draws.std(0) / len(draws) ** 0.5
    assert float(((draws.mean(0) - chance(32, 4, 8)).abs() / error).max()) < 4
    assert chance(32, 4, 8)[1, 5] == 6 / 32 and chance(32, 4, 8)[3, 0] == 4 / 32


def test_spaces_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="of 5 and of 6 numbers"):
        similarity(_basis(5, 2, 0), _basis(6, 2, 0))
    with pytest.raises(ValueError, match="not orthonormal"):
        similarity(_basis(5, 2, 0), torch.ones(5, 2))


@pytest.mark.parametrize("form", [lambda change: change, dense], ids=["factors", "dense"])
def test_directions_are_the_singular_vectors_of_the_change(form):
    change = Factors(_normal(14, 3, seed=1), _normal(3, 20, seed=2))
    u, _, vt = torch.linalg.svd(dense(change), full_matrices=False)
    for directions, oracle in ((left_directions, u), (right_directions, vt.T)):
        ours = directions(form(change), 2)
        assert torch.allclose((ours.T @ oracle[:, :2]).abs(), torch.eye(2, dtype=torch.float64), atol=1e-10)
        assert directions(form(change), 9).shape[1] == 3  # the rank of the change


@pytest.mark.parametrize("form", [lambda change: change, dense], ids=["factors", "dense"])
def test_amplification_is_that_of_the_dense_definition(form):
    weight, change = _normal(14, 20), Factors(3 * _normal(14, 4, seed=1), _normal(4, 20, seed=2))
    u, _, vt = torch.linalg.svd(dense(change))
    own_u, _, own_vt = torch.linalg.svd(weight)
    result = amplification(decompose(weight), form(change), 3, torch.Generator().manual_seed(0))
    assert result.norm == pytest.approx(float(dense(change).norm()))
    assert result.inside == pytest.approx(float((u[:, :3].T @ weight @ vt[:3].T).norm()))
    assert result.inside_top == pytest.approx(float((own_u[:, :3].T @ weight @ own_vt[:3].T).norm()))
    assert result.factor == pytest.approx(result.norm / result.inside)
    assert result.factor_top < min(result.factor, result.factor_random)


def test_a_weight_cut_to_its_first_directions_amplifies_by_one():
    weight = _normal(12, 12)
    u, s, vt = torch.linalg.svd(weight)
    result = amplification(decompose(weight), Factors(u[:, :4] * s[:4], vt[:4]), 4, torch.Generator().manual_seed(0))
    assert (result.factor, result.factor_top) == (pytest.approx(1), pytest.approx(1))


def test_random_directions_hold_what_chance_gives_them():
    """E ‖UᵀWV‖² = ‖W‖²·r²/(out·in)."""
    weight, change = _normal(16, 24), Factors(_normal(16, 3, seed=1), _normal(3, 24, seed=2))
    rng, base = torch.Generator().manual_seed(0), decompose(weight)
    draws = torch.tensor([amplification(base, change, 3, rng).inside_random ** 2 for _ in range(300)])
    expected = float(weight.square().sum()) * 9 / (16 * 24)
    assert abs(float(draws.mean()) - expected) < 4 * float(draws.std()) / 300**0.5


@pytest.mark.parametrize("change", [torch.zeros(6, 6), Factors(torch.zeros(6, 0), torch.zeros(0, 6))])
def test_no_change_amplifies_nothing(change):
    result = amplification(decompose(_normal(6, 6)), change, 4, torch.Generator().manual_seed(0))
    assert (result.norm, result.factor, result.factor_random) == (0, 0, 0)
