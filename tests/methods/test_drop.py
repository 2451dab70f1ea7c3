"""Dropped parameters: how many stay, which, and what is expected of the rest."""

import numpy as np
import pytest
import torch

from methods.drop import drop


def test_by_magnitude_the_largest_stay_as_they_are():
    tensor = torch.randn(30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = drop(tensor, 0.1, "magnitude")
    order = np.argsort(-np.abs(tensor.numpy().ravel()))[:21]
    expected = np.zeros(210)
    expected[order] = tensor.numpy().ravel()[order]
    assert np.array_equal(kept.numpy().ravel(), expected)
    assert int(drop(tensor, 1e-6, "magnitude").count_nonzero()) == 1 and torch.equal(
        drop(tensor, 1, "magnitude"), tensor
    )


def test_at_random_the_product_is_expected_to_be_what_it_was():
    generator = torch.Generator().manual_seed(1)
    b, a = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((6, 4), (4, 5)))
    draws = torch.stack([drop(b, 0.5, "random", generator) @ drop(a, 0.5, "random", generator) for _ in range(4000)])
    error = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - b @ a).abs() < 4.5 * error).all()
    share = torch.stack([drop(b, 0.05, "random", generator) for _ in range(500)]).count_nonzero() / (500 * b.numel())
    assert float(share) == pytest.approx(0.05, abs=0.01)


def test_a_share_that_is_none_is_refused():
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="share"):
            drop(torch.ones(3), share, "magnitude")
