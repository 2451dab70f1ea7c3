"""Floating point operations of one step, counted from the operations that ran; a multiply and an add are two.

Counted: matrix products, convolutions and attention, forward and backward, inside custom autograd functions too.
Not counted: element-wise work, normalisation, softmax, embedding look-ups, the optimizer, and writes into a weight.
Fused attention counts as its definition on every device (forward 2 products, backward 5: scores are computed again).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)
from torch.utils.module_tracker import ModuleTracker

from harness.ledger.quantity import Measured
from harness.measure.dry_step import dry_step


def step_flops(
    model: nn.Module, forward_backward: Callable[[], Tensor], parameters: Sequence[nn.Parameter] = ()
) -> Measured:
    """FLOP of `forward_backward`, one optimizer step's forward and backward passes. It leaves no trace in the training.

    parameters: what is trained beside the model's own parameters.
    """
    with dry_step(model, parameters):
        with flop_counter() as counter:
            forward_backward()
    return Measured(counter.get_total_flops(), "FLOP")


def flop_counter() -> FlopCounterMode:
    """A context that adds up what runs inside it, and changes nothing that is measured beside it."""
    counter = FlopCounterMode(display=False, custom_mapping=_ALSO)
    counter.mod_tracker = _NoNames()
    return counter


class _NoNames(ModuleTracker):
    """Every operation is of no module in particular.

    To name modules in the backward pass PyTorch's tracker puts hooks on their outputs, which hold the graph until the
    end: what `peft`'s DoRA computes and detaches would count as saved for backward.
    """

    def __enter__(self) -> "_NoNames":
        return self

    def __exit__(self, *args: object) -> None:
        pass


Shape = Sequence[int]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _added_product(total: Shape, left: Shape, right: Shape, *_: object, **__: object) -> int:
    return 2 * math.prod(left) * right[-1]


def _matrix_vector(matrix: Shape, vector: Shape, *_: object, **__: object) -> int:
    return 2 * matrix[0] * matrix[1]


# PyTorch's counter knows CUDA's fused attention but not the CPU's, addmm but not addmm_: they would count as nothing.
_ALSO = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.addmm_: _added_product,
    torch.ops.aten.baddbmm_: _added_product,
    torch.ops.aten.mv: _matrix_vector,
}
