"""Puts updates in front of a model's modules, and takes them out again.

An update's fast path needs a plain floating weight (torch.nn.Linear or Conv1D with an ordinary parameter). For a
sharded (DTensor, FSDP) or quantised weight, and for an update that declares no fast path, the module runs as it is and
the update's branch is added to its output.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from methods.sites import AdapterSite, is_transposed
from methods.update.base import SiteUpdate
from methods.update.linear import FrozenLinear


class Adapted(nn.Module):
    """One linear module and the updates of its sites: one, or two or three of a fused projection."""

    def __init__(self, base: nn.Module, updates: Sequence[SiteUpdate]) -> None:
        super().__init__()
        self.base = base
        self.updates = nn.ModuleList(updates)
        self._each = tuple(updates)
        spans = tuple((update.site.low, update.site.high) for update in updates)
        self._linear = FrozenLinear(base, is_transposed(base), spans)
        self._fast_path = type(updates[0]).fast_path if updates[0].site.writable else None

    @property
    def weight(self) -> Tensor:
        """The base module's, for models that look at it."""
        return self._linear.weight

    @property
    def bias(self) -> Tensor | None:
        return self._linear.bias

    @property
    def is_fast(self) -> bool:
        """Whether the output is of the update's fast path."""
        return self._fast_path is not None

    def forward(self, x: Tensor) -> Tensor:
        return self._dense(x) if self._fast_path is None else self._fast_path(self._each, x, self._linear)

    def use_branches(self) -> None:
        """Leave the fast path for the branches, which can be differentiated twice. Holds while W holds no update."""
        self._fast_path = None

    def _dense(self, x: Tensor) -> Tensor:
        y = self.base(x)
        rows, end = [], 0
        for (low, high), update in zip(self._linear.spans, self._each, strict=True):
            rows += [y[..., end:low], y[..., low:high] + _moved(update, x)]
            end = high
        return torch.cat([*rows, y[..., end:]], dim=-1)


def _moved(update: SiteUpdate, x: Tensor) -> Tensor:
    """Of the update at present and of the links that are kept beside W."""
    moved, finished = update.branch(x), update.finished(x)
    return moved if finished is None else moved + finished


def inject(model: nn.Module, updates: Mapping[str, SiteUpdate]) -> None:
    """Replace every module that holds a site by its `Adapted`; `updates` is keyed by site path."""
    by_module: dict[str, list[SiteUpdate]] = {}
    for update in updates.values():
        by_module.setdefault(update.site.module_path, []).append(update)
    for path, its_updates in by_module.items():
        _replace(model, path, Adapted(its_updates[0].site.module, its_updates))


def eject(model: nn.Module, sites: Sequence[AdapterSite]) -> None:
    """The plain modules back in their places."""
    for site in sites:
        _replace(model, site.module_path, site.module)


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    module.train(model.get_submodule(path).training)
    setattr(model.get_submodule(parent), name, module)
