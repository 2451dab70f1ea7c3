"""The decompositions that runs share."""

import torch

from harness.diagnostics import weights as module
from harness.diagnostics.weights import decomposition_of


def _weight(seed):
    return torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))


def test_a_weight_is_decomposed_once_and_an_equal_copy_shares_it():
    assert decomposition_of(_weight(0)) is decomposition_of(_weight(0))
    assert decomposition_of(_weight(0)) is not decomposition_of(_weight(1))


def test_what_is_kept_stays_below_its_limit(monkeypatch):
    monkeypatch.setattr(module, "_decompositions", {})
    monkeypatch.setattr(module, "KEPT_BYTES", 2.5 * 8 * (16 * 16 * 2 + 16))
    kept = [decomposition_of(_weight(seed)) for seed in range(4)]
    assert list(module._decompositions.values()) == kept[2:]
