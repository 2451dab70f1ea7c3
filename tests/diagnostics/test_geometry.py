"""The geometry of a change from its factors, against the dense product in float64."""

import pytest
import torch

from harness.diagnostics.factors import Factors, dense
from harness.diagnostics.geometry import geometry
from methods.update.spectrum import ranks_of


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(40, 40), (24, 60), (60, 24), (6, 5)])
@pytest.mark.parametrize("form", [lambda change: change, dense], ids=["factors", "dense"])
def test_each_number_is_that_of_the_dense_change(shape, form):
    weight = _normal(*shape)
    change = Factors(_normal(shape[0], 8, seed=1) * 0.3 ** torch.arange(8), _normal(8, shape[1], seed=2))
    change.a[:, [0, 3]] = 0
    product = dense(change)
    result = geometry(weight, form(change))
    assert result.spectrum == pytest.approx(torch.linalg.svdvals(product)[: len(result.spectrum)].tolist(), rel=1e-9)
    assert len(result.spectrum) == int(torch.linalg.matrix_rank(product))
    assert result.columns == shape[1] - 2
    assert result.norm == pytest.approx(float(product.norm()))
    assert result.relative_norm == pytest.approx(float(product.norm() / weight.norm()))
    ranks = ranks_of(product)
    assert (result.stable_rank, result.numerical_rank) == (pytest.approx(ranks["stable_rank"]), ranks["numerical_rank"])


def test_a_planted_rank_and_a_flat_spectrum_are_reported():
    q, _ = torch.linalg.qr(_normal(30, 5))
    result = geometry(_normal(30, 30, seed=1), Factors(2 * q, q.T))
    assert result.spectrum == pytest.approx([2.0] * 5)
    assert (result.stable_rank, result.numerical_rank) == (pytest.approx(5), 5)


@pytest.mark.parametrize(
    "change",
    [torch.zeros(6, 9), Factors(torch.zeros(6, 2), torch.ones(2, 9)), Factors(torch.zeros(6, 0), torch.zeros(0, 9))],
)
def test_no_change_has_no_geometry(change):
    result = geometry(_normal(6, 9), change)
    assert (result.spectrum, result.stable_rank, result.numerical_rank, result.columns, result.norm) == ((), 0, 0, 0, 0)


def test_a_zero_weight_is_refused():
    with pytest.raises(ValueError, match="pretrained weight is zero"):
        geometry(torch.zeros(3, 3), torch.ones(3, 3))
