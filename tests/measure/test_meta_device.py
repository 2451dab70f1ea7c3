"""Shapes alone, as CUDA would compute them: dtypes by PyTorch's own list, and what is kept for the backward pass."""

import pytest
import torch
import torch.nn.functional as F

from harness.measure.meta_device import cuda_semantics
from methods.update.linear import compute_dtype

NARROW, WIDE = torch.bfloat16, torch.float32
X = torch.empty(2, 4, 4, device="meta")
# docs.pytorch.org/docs/stable/amp.html, "CUDA Op-Specific Behavior": what our six families call
RULES = [
    (NARROW, WIDE, lambda x: F.linear(x, x[0])),
    (NARROW, WIDE, lambda x: x @ x),
    (NARROW, WIDE, lambda x: torch.bmm(x, x)),
    (NARROW, WIDE, lambda x: torch.baddbmm(x, x, x)),
    (NARROW, WIDE, lambda x: torch.addmm(x[0, 0], x[0], x[0])),
    (NARROW, WIDE, lambda x: F.conv2d(x[None], torch.empty(1, 2, 2, 2, device="meta"))),
    (WIDE, NARROW, lambda x: F.layer_norm(x, (4,))),
    (WIDE, NARROW, lambda x: x.softmax(-1)),
    (WIDE, NARROW, lambda x: F.softmax(x, -1)),
    (WIDE, NARROW, lambda x: x.pow(2)),
    (WIDE, NARROW, lambda x: torch.pow(x, 3.0)),
    (WIDE, NARROW, lambda x: torch.rsqrt(x)),
    (WIDE, NARROW, lambda x: F.cross_entropy(x[0], torch.zeros(4, dtype=torch.long, device="meta"))),
    (NARROW, NARROW, lambda x: F.gelu(x)),
    (NARROW, NARROW, lambda x: torch.tanh(x) * 2 + x),
    (WIDE, WIDE, lambda x: F.gelu(x)),
    (torch.float64, torch.float64, lambda x: x @ x),
]


@pytest.mark.parametrize(("out", "given", "operation"), RULES)
def test_each_operation_gives_the_dtype_that_cudas_autocast_gives(out, given, operation):
    with cuda_semantics(bfloat16=True):
        assert operation(X.to(given)).dtype is out
    with cuda_semantics(bfloat16=False):
        assert operation(X.to(given)).dtype is given


def test_our_own_fast_paths_see_the_same_precision_and_nothing_stays_switched_on():
    with cuda_semantics(bfloat16=True):
        assert compute_dtype(X) is NARROW
    assert compute_dtype(X) is WIDE and not torch.is_autocast_enabled("cuda")
    assert (X @ X).dtype is WIDE


@pytest.fixture
def kept():
    """Shapes and dtypes of what autograd keeps."""

    def of(forward):
        found = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: found.append((tuple(t.shape), t.dtype)), lambda t: t):
            forward()
        return found

    return of


def test_dropout_keeps_one_byte_an_element(kept):
    x = X.clone().requires_grad_()
    with cuda_semantics(bfloat16=True):
        assert kept(lambda: F.dropout(x, 0.1, training=True)) == [((2, 4, 4), torch.bool)]
        assert kept(lambda: F.dropout(x, 0.1, training=False)) == []


def test_attention_keeps_no_matrix_of_scores_whatever_is_masked_or_dropped(kept):
    q, k = (torch.empty(1, heads, 32, 8, device="meta", requires_grad=True) for heads in (4, 2))
    mask = torch.ones(1, 1, 32, 32, dtype=torch.bool, device="meta")
    with cuda_semantics(bfloat16=True):
        found = kept(
            lambda: F.scaled_dot_product_attention(q, k, k, attn_mask=mask, dropout_p=0.1, scale=0.3, enable_gqa=True)
        )
    assert not any(shape[-2:] == (32, 32) for shape, _ in found)
    assert {dtype for shape, dtype in found if shape[-1] == 8} == {NARROW}
