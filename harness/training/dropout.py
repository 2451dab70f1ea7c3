"""Dropout of a process that has some rows of a micro-batch: its rows of the mask that one process alone would draw.

Every process draws the mask of the whole micro-batch, so that generators stay alike. It holds where dropout is an
operation of its own (`bernoulli_`, `native_dropout`); inside a GPU's fused attention kernel other masks are drawn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class _RowsOfMasks(TorchDispatchMode):
    """Rows `low` to `high` of `count`; a tensor whose first dimension is none of rows has its mask whole."""

    def __init__(self, low: int, high: int, count: int) -> None:
        super().__init__()
        self._low, self._high, self._count = low, high, count

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _aten.bernoulli_.float:
            return args[0].copy_(self._mine(args[0], lambda whole: func(whole, *args[1:], **kwargs)))
        if func is _aten.native_dropout.default:
            x, p, training = args
            mask = self._mine(x, lambda whole: func(torch.ones_like(whole), p, training)[1])
            return x * mask / (1 - p), mask
        return func(*args, **kwargs)

    def _mine(self, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        if not like.dim() or like.shape[0] != self._high - self._low:
            return draw(torch.empty_like(like))
        return draw(like.new_empty((self._count, *like.shape[1:])))[self._low : self._high]


@contextmanager
def masks_of_rows(model: nn.Module, low: int, high: int, count: int) -> Iterator[None]:
    """Inside, forward and backward, for a model that has dropout; it slows every operation a little."""
    if (low, high) == (0, count) or not has_dropout(model):
        yield
        return
    with _RowsOfMasks(low, high, count):
        yield


def has_dropout(model: nn.Module) -> bool:
    """Whether a module of it drops anything, by its probability `p` or `attention_dropout`."""
    return any(_probability(module) > 0 for module in model.modules())


def _probability(module: nn.Module) -> float:
    named = module.p if isinstance(module, nn.Dropout) else getattr(module, "attention_dropout", 0.0)
    return float(named) if isinstance(named, int | float) else 0.0
