"""One rule for the precision of a step."""

import pytest
import torch

from harness.measure.precision import Precision, autocast, uses_bfloat16


@pytest.mark.parametrize(
    ("precision", "device", "supported", "expected"),
    [
        ("auto", "cpu", True, False),
        ("auto", "cuda", True, True),
        ("auto", "cuda", False, False),  # an older GPU emulates it, slowly
        ("bfloat16", "cpu", False, True),
        ("float32", "cuda", True, False),
    ],
)
def test_auto_is_bfloat16_on_a_gpu_that_has_it(
    precision: Precision, device: str, supported: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert uses_bfloat16(precision, torch.device(device)) == expected


def test_inside_products_are_in_the_precision_asked_for() -> None:
    a = torch.ones(2, 2)
    with autocast("bfloat16", torch.device("cpu")):
        assert (a @ a).dtype is torch.bfloat16
    with autocast("auto", torch.device("cpu")):
        assert (a @ a).dtype is torch.float32
