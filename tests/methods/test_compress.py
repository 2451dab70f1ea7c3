"""A low-rank product at a lower rank, against the exact decomposition of the dense product."""

import pytest
import torch

from methods.compress import compress, rank_for, variance_kept
from methods.stages import stage_lengths

RANKS = (128, 64, 32, 16, 8, 4, 2, 1)


def _factors(out, width, rank, dtype, decay=0.8):
    rng = torch.Generator().manual_seed(0)
    scale = decay ** torch.arange(rank, dtype=dtype)
    b = torch.randn(out, rank, generator=rng, dtype=dtype) * scale
    return b, torch.randn(rank, width, generator=rng, dtype=dtype)


def _best(b, a, rank):
    u, s, vt = torch.linalg.svd(b.double() @ a.double(), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank], s


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", [(96, 72), (40, 96), (20, 12)])
def test_the_qr_core_is_the_exact_truncated_decomposition(dtype, tolerance, shape):
    b, a = _factors(*shape, 16, dtype)
    best, spectrum = _best(b, a, 4)
    small = compress(b, a, 4)
    assert (small.b.shape, small.a.shape) == ((shape[0], 4), (4, shape[1]))
    assert torch.linalg.norm(small.b.double() @ small.a.double() - best) <= tolerance * torch.linalg.norm(best)
    assert torch.allclose(
        small.spectrum.double(), spectrum[: len(small.spectrum)], rtol=0, atol=tolerance * spectrum[0]
    )


def test_the_exact_backend_and_the_qr_core_agree():
    b, a = _factors(50, 30, 12, torch.float64)
    one, other = compress(b, a, 5), compress(b, a, 5, backend="exact")
    assert torch.allclose(one.b @ one.a, other.b @ other.a, atol=1e-12)
    assert torch.allclose(one.spectrum, other.spectrum, atol=1e-12)


def test_the_randomised_decomposition_is_within_a_thousandth_of_the_optimum_on_a_decaying_spectrum():
    b, a = _factors(96, 72, 32, torch.float64)
    best, _ = _best(b, a, 4)
    rng = torch.Generator().manual_seed(1)
    small = compress(b, a, 4, backend="randomised", generator=rng)
    delta = b @ a
    optimum = torch.linalg.norm(delta - best)
    assert torch.linalg.norm(delta - small.b @ small.a) <= 1.001 * optimum


def test_factors_are_balanced():
    b, a = _factors(30, 20, 8, torch.float64)
    small = compress(b, a, 3)
    assert torch.allclose(small.b.T @ small.b, small.a @ small.a.T, atol=1e-10)


@pytest.mark.parametrize("rank", [8, 11])
def test_a_rank_that_is_not_lower_keeps_the_product(rank):
    b, a = _factors(30, 20, 8, torch.float64)
    small = compress(b, a, rank)
    assert torch.allclose(small.b @ small.a, b @ a, atol=1e-12)
    assert small.variance_kept == pytest.approx(1)


def test_half_precision_is_computed_in_single_and_given_back_in_half():
    b, a = (factor.bfloat16() for factor in _factors(64, 48, 8, torch.float32))
    small = compress(b, a, 8)
    assert small.b.dtype == small.a.dtype == torch.bfloat16
    assert torch.linalg.norm(small.b.float() @ small.a.float() - b.float() @ a.float()) < 0.02 * torch.linalg.norm(
        b.float() @ a.float()
    )


def test_a_zero_product_stays_zero_and_loses_nothing():
    small = compress(torch.zeros(6, 4), torch.zeros(4, 5), 2)
    assert not (small.b @ small.a).any()
    assert small.variance_kept == 1


def test_the_variance_kept_is_the_share_of_squared_singular_values():
    spectrum = torch.tensor([3.0, 2.0, 1.0])
    assert variance_kept(spectrum, 2) == pytest.approx(13 / 14)
    assert [rank_for(spectrum, keep) for keep in (0.5, 9 / 14, 0.93, 1.0)] == [1, 1, 3, 3]
    assert rank_for(torch.zeros(4), 0.9) == 1


def test_stage_lengths_are_those_of_the_paper_for_10200_steps():
    assert stage_lengths(10_200, RANKS) == (5120, 2560, 1280, 640, 320, 160, 80, 40)
    assert stage_lengths(10_200, RANKS, 200) == (4517, 2358, 1279, 740, 470, 335, 267, 234)


def test_as_many_steps_as_stages_are_one_each():
    assert stage_lengths(3, (2, 2, 2)) == (1, 1, 1)


@pytest.mark.parametrize(("steps", "minimum"), [(1599, 200), (7, 0), (100, 0)])
def test_stages_that_do_not_fit_are_refused(steps, minimum):
    with pytest.raises(ValueError, match="do not fit"):
        stage_lengths(steps, RANKS, minimum)


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(keep):
    with pytest.raises(ValueError, match="share"):
        rank_for(torch.ones(3), keep)


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="rank 0"):
        compress(torch.ones(2, 1), torch.ones(1, 2), 0)
