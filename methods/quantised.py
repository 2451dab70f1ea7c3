"""Frozen weights of 4 or 8 bits, as bitsandbytes packs them: read, rounded again, and multiplied by.

y = x·Ŵᵀ + b, where Ŵ is the packed weight read back, forward and backward, in training and in evaluation, on every
device. bitsandbytes' own products differ between training and evaluation: on some CPUs they round to bfloat16 when no
gradient is asked for, and 8-bit ones round the inputs too. Nothing is kept for the backward pass but W itself.
"""

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_FOUR, _EIGHT = "Params4bit", "Int8Params"  # told by name: the package is optional
BLOCK, OUTER_BLOCK = 64, 256  # weights that share a scale in NF4, and scales that share one under double quantisation


class PackedShapes(nn.Linear):
    """A packed linear module without numbers, to be counted on the meta device: codes, and scales as buffers."""

    scales: Tensor

    def __init__(self, like: nn.Module, out: int, width: int, kind: str, double: bool) -> None:
        super().__init__(width, out, bias=like.bias is not None, device="meta", dtype=_stored(like).dtype)
        self.read_as = _stored(like).dtype
        count = out * width
        codes = torch.empty((count + 1) // 2 if kind == "nf4" else count, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(codes, requires_grad=False)
        scales = torch.empty(scale_bytes(out, width, kind, double), dtype=torch.uint8, device="meta")
        self.register_buffer("scales", scales)
        self.requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:
        return frozen_product(self, input)


def scale_bytes(out: int, width: int, kind: str, double: bool) -> int:
    """Bytes beside the codes: int8 one float32 a row; NF4 one a block, or a byte a block and float32 for each 256."""
    if kind == "int8":
        return 4 * out
    blocks = -(-out * width // BLOCK)
    table = 4 * 16  # the values of the 16 codes
    return table + (blocks + 4 * -(-blocks // OUTER_BLOCK) + 4 * 256 + 4 if double else 4 * blocks)


def is_quantised(module: nn.Module) -> bool:
    """Whether its weight is packed."""
    weight = getattr(module, "weight", None)
    return isinstance(module, PackedShapes) or type(weight).__name__ in (_FOUR, _EIGHT)


def quantised_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Those whose weight is packed, by their paths."""
    return ((name, module) for name, module in model.named_modules() if is_quantised(module))


@torch.no_grad()
def dequantised(module: nn.Module) -> Tensor:
    """Ŵ (out, in): a new tensor, in the dtype that the weight had before it was packed (8 bits: float32)."""
    if isinstance(module, PackedShapes):
        return torch.empty(module.out_features, module.in_features, dtype=module.read_as, device="meta")
    import bitsandbytes.functional as bnb

    weight: Any = module.weight
    if type(weight).__name__ == _FOUR:
        return bnb.dequantize_4bit(weight.data, weight.quant_state)
    return bnb.int8_vectorwise_dequant(weight.data, _row_scales(module))


@torch.no_grad()
def rounded(module: nn.Module, value: Tensor) -> Tensor:
    """What `value` (out, in) would be read back as, were it packed as the module's weight is."""
    import bitsandbytes.functional as bnb

    weight: Any = module.weight
    if type(weight).__name__ == _EIGHT:
        codes, scales, _ = bnb.int8_vectorwise_quant(value.half())
        return bnb.int8_vectorwise_dequant(codes, scales).to(value.dtype)
    state = weight.quant_state
    codes, packed = bnb.quantize_4bit(
        value, blocksize=state.blocksize, compress_statistics=state.nested, quant_type=state.quant_type
    )
    return bnb.dequantize_4bit(codes, packed)


def parameter_count(model: nn.Module) -> int:
    """Weights of a model, each packed one counted as what it stands for."""
    packed = {id(module.weight): module.in_features * module.out_features for _, module in _linears(model)}
    return sum(packed.get(id(parameter), parameter.numel()) for parameter in model.parameters())


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in quantised_modules(model) if isinstance(module, nn.Linear))


def scales_of(module: nn.Module) -> list[Tensor]:
    """What is kept beside the codes of a packed weight."""
    if type(module.weight).__name__ == _EIGHT:
        return [_row_scales(module)]
    state = getattr(module.weight, "quant_state", None)
    outer = getattr(state, "state2", None)
    held = [getattr(each, name, None) for each in (state, outer) for name in ("absmax", "code", "offset")]
    return [tensor for tensor in held if isinstance(tensor, Tensor)]


def _row_scales(module: Any) -> Tensor:
    """(out): where bitsandbytes has put them, on the device of the weight."""
    scales = module.weight.SCB if module.weight.SCB is not None else module.state.SCB
    return scales.to(module.weight.device)


def multiply_exactly(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Let a packed module multiply as this file says, in `dtype` (None: autocast's, else that of its input)."""
    held: Any = module
    held.compute_dtype = dtype
    held.forward = MethodType(frozen_product, module)


def frozen_product(module: nn.Module, x: Tensor) -> Tensor:
    """x (…, in) to x·Ŵᵀ + b (…, out), in autocast's dtype where it is on, else that of x."""
    kind = "cuda" if x.device.type == "meta" else x.device.type
    result = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    dtype = getattr(module, "compute_dtype", None) or result
    y = _FrozenProduct.apply(x, module, dtype).to(result)
    return y if module.bias is None else y + module.bias.to(result)


class _FrozenProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: Any, dtype: torch.dtype) -> Tensor:
        ctx.module, ctx.dtype, ctx.x_dtype = module, dtype, x.dtype
        flat = x.reshape(-1, x.shape[-1]).to(dtype)
        with _no_autocast(x):
            y = flat @ dequantised(module).to(dtype).t()
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        flat = grad.reshape(-1, grad.shape[-1]).to(ctx.dtype)
        with _no_autocast(grad):
            dx = flat @ dequantised(ctx.module).to(ctx.dtype)
        return dx.to(ctx.x_dtype).view(*grad.shape[:-1], -1), None, None


def _no_autocast(x: Tensor) -> torch.autocast:
    return torch.autocast("cuda" if x.device.type == "meta" else x.device.type, enabled=False)


def _stored(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
