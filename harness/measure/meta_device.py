"""Shims for the meta device, which runs nothing: counting on shapes alone, and counting as a CUDA GPU would.

`cuda_semantics`: operations save what they would save on a CUDA GPU, in the precision of the run.

What differs from the bare meta device, which runs as a CPU does:

- under bfloat16 autocast, operands are cast as PyTorch's lists for CUDA say (torch.amp, "CUDA Op-Specific Behavior"),
  so that a cast weight or activation that the backward pass needs is kept as the bfloat16 copy that it is there;
- attention is one fused kernel, with dropout and with a mask too;
- a dropout mask is one byte an element.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

_ATTENTION = F.scaled_dot_product_attention
_NARROW = {
    F.linear, torch.conv2d, F.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.mm,
    Tensor.mm, torch.bmm, Tensor.bmm, torch.mv, Tensor.mv, torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm,
    torch.einsum,
}  # fmt: skip
_WIDE = {
    F.layer_norm, F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax,
    F.cross_entropy, F.mse_loss, torch.pow, Tensor.pow, Tensor.__pow__, torch.rsqrt, Tensor.rsqrt, torch.exp,
    Tensor.exp, torch.sum, Tensor.sum, torch.cumsum, Tensor.cumsum, torch.norm, Tensor.norm,
}  # fmt: skip


@contextmanager
def cuda_semantics(*, bfloat16: bool) -> Iterator[None]:
    """Around a forward pass, and around checkpointed blocks when the backward pass computes them again.

    bfloat16: as inside `torch.autocast("cuda", torch.bfloat16)`, which refuses to be on where there is no GPU.
    """
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", bfloat16)  # nothing here is on such a device: our own code asks for it
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with _AsOnCuda(bfloat16):
            yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


class _AsOnCuda(TorchFunctionMode):
    def __init__(self, bfloat16: bool) -> None:
        super().__init__()
        self._bfloat16 = bfloat16

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _ATTENTION:
            return self._attention(*args, **kwargs)
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        if self._bfloat16 and func in _NARROW:
            args, kwargs = tree_map(_to(torch.bfloat16), (args, kwargs))
        elif self._bfloat16 and func in _WIDE:
            args, kwargs = tree_map(_to(torch.float32), (args, kwargs))
        return func(*args, **kwargs)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any) -> Tensor:
        """Keeps query, key, value, the output and one float32 a row of scores; dropout is drawn again, not kept."""
        if self._bfloat16:
            query, key, value = (_to(torch.bfloat16)(tensor) for tensor in (query, key, value))
        if options.get("enable_gqa"):
            repeats = query.shape[1] // key.shape[1]
            key, value = (tensor.repeat_interleave(repeats, 1) for tensor in (key, value))
        causal, scale = bool(options.get("is_causal")), options.get("scale")
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # one of the kernels that know shapes alone
        return fused(query, key, value, is_causal=causal, scale=scale)[0]


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return torch.native_dropout(input, p, True)[0] if training and p > 0 else input


def _to(dtype: torch.dtype) -> Callable[[Any], Any]:
    """Casts what autocast would: floating tensors, but for float64."""

    def cast(value: Any) -> Any:
        eligible = isinstance(value, Tensor) and value.is_floating_point() and value.dtype is not torch.float64
        return value.to(dtype) if eligible else value

    return cast


@contextmanager
def meta_hints() -> Iterator[None]:
    """For meta tensors, inside: attention is the fused kernel (else the attention matrix would be counted as saved),
    and nobody looks into position numbers to see whether several texts are packed into a row (there are none).
    """
    from transformers import masking_utils

    attention = F.scaled_dot_product_attention
    hints = [
        (F, "scaled_dot_product_attention", lambda *args, **options: _meta_attention(attention, *args, **options)),
        (masking_utils, "find_packed_sequence_indices", lambda *args, **options: None),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in hints]
    try:
        for module, name, hint in hints:
            setattr(module, name, hint)
        yield
    finally:
        for module, name, own in before:
            setattr(module, name, own)


def _meta_attention(own: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
    if args or options.get("attn_mask") is not None or options.get("dropout_p"):
        return own(query, key, value, *args, **options)
    causal, scale = bool(options.get("is_causal")), options.get("scale")
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return fused(query, key, value, is_causal=causal, scale=scale)[0]
