"""The packed base that this process loaded last, kept for its next runs: packing is most of a load.

Each run has a model of its own, which holds the kept codes and scales: nothing writes into those, as methods train
beside packed weights, and chains keep finished links there. All else of it is a copy. A base that is not packed is
loaded anew for each run: methods write into its weights.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from harness.measure.process_history import more_expected
from harness.models.loaded import LoadedModel
from methods.quantised import quantised_modules, scales_of

Key = tuple[Any, ...]


@dataclass(frozen=True)
class KeptBase:
    """What no run has touched. key: all that decides its weights."""

    key: Key
    loaded: LoadedModel


_kept: KeptBase | None = None


def from_kept(key: Key, load: Callable[[], LoadedModel], *, keep: bool) -> LoadedModel:
    """What `load` gives, or a copy of what it gave before.

    keep: whether that is worth keeping, which is done where more runs are expected of this process.
    """
    global _kept
    known = _kept is not None and _kept.key == key
    if not known:
        forget_base()  # first: memory need not hold two
        loaded = load()
        if not (keep and more_expected()):
            return loaded
        _kept = KeptBase(key, loaded)
    assert _kept is not None
    return replace(_kept.loaded, model=_copied(_kept.loaded.model), shared=known)


def forget_base() -> None:
    """Let go of what is kept."""
    global _kept
    _kept = None


def keeps_base() -> bool:
    """Whether this process holds a base beside that of its present run."""
    return _kept is not None


def _copied(model: nn.Module) -> nn.Module:
    """Another model that holds the same codes and scales."""
    memo: dict[int, Any] = {}
    for _, module in quantised_modules(model):
        _share_weight(module, memo)
    return copy.deepcopy(model, memo)


def _share_weight(module: Any, memo: dict[int, Any]) -> None:
    """The weight's copy is a parameter of its own: one that moves to a device is changed in place, its scales too."""
    weight = module.weight
    held = [*scales_of(module), getattr(weight, "CB", None)]  # CB: int8's codes once more
    memo |= {id(tensor): tensor for tensor in held if tensor is not None}
    memo[id(weight)] = twin = torch.Tensor._make_subclass(type(weight), weight.data, False)
    known = {name: value for name, value in vars(weight).items() if name != "module"}  # which it need not find again
    vars(twin).update(copy.deepcopy(known, memo), module=None)
