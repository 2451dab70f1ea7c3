"""The rank that holds a share of a spectrum, by Σ s and by Σ s², against numpy's own decomposition in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.energy import energy_rank, share_held


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.floats(0.05, 1.0), st.sampled_from([1, 2]), st.integers(0, 999))
def test_the_rank_is_the_smallest_whose_truncation_holds_the_share(out, width, share, power, seed):
    weight = np.random.default_rng(seed).standard_normal((out, width))
    values = np.linalg.svd(weight, compute_uv=False)
    rank = energy_rank(torch.linalg.svdvals(torch.tensor(weight)), share, power)
    held = [(values[:k] ** power).sum() / (values**power).sum() for k in range(len(values) + 1)]
    assert 1 <= rank <= min(out, width)
    assert held[rank] >= share - 1e-9 and (rank == 1 or held[rank - 1] < share + 1e-9)


def test_energy_is_of_squares_and_the_recipe_that_sums_plain_values_asks_for_more():
    """A tutorial calls Σ s energy. Of 10, 1, 1, 1, 1 rank 1 keeps 96 % of ‖W‖_F², and Σ s says 71 %."""
    weight = torch.diag(torch.tensor([10.0, 1, 1, 1, 1], dtype=torch.float64))
    spectrum = torch.linalg.svdvals(weight)
    truncated = torch.zeros_like(weight)
    truncated[0, 0] = 10
    kept = float(truncated.square().sum() / weight.square().sum())
    assert float(share_held(spectrum, 2)[0]) == pytest.approx(kept) == pytest.approx(100 / 104)
    assert float(share_held(spectrum, 1)[0]) == pytest.approx(10 / 14)
    assert (energy_rank(spectrum, 0.9, 2), energy_rank(spectrum, 0.9, 1)) == (1, 4)


def test_a_weight_that_is_not_square_has_no_more_rank_than_its_smaller_side():
    assert energy_rank(torch.linalg.svdvals(torch.randn(7, 3, dtype=torch.float64)), 1.0, 2) <= 3


def test_nothing_at_all_is_rank_one_and_no_share_is_an_error():
    assert energy_rank(torch.zeros(4), 0.9, 2) == 1
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match="share"):
            energy_rank(torch.ones(4), share, 2)
