"""Puts updates in front of a model's modules, and takes them out again.

Fast paths need a plain floating weight (torch.nn.Linear or Conv1D with an ordinary parameter). For a sharded (DTensor,
FSDP) or quantised weight the module runs as it is and the dense reference branch is added to its output.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from methods.sites import AdapterSite, is_transposed, stored_weight
from methods.update.ba_sparse import BaSparseUpdate
from methods.update.columns import ColumnsUpdate
from methods.update.columns_linear import columns_linear
from methods.update.low_rank import LowRankUpdate
from methods.update.low_rank_linear import low_rank_linear

SiteUpdate = LowRankUpdate | ColumnsUpdate | BaSparseUpdate


class Adapted(nn.Module):
    """One linear module and the updates of its sites: one, or two or three of a fused projection."""

    def __init__(self, base: nn.Module, updates: Sequence[SiteUpdate]) -> None:
        super().__init__()
        self.base = base
        self.updates = nn.ModuleList(updates)
        self._parts = tuple(updates)
        self._spans = tuple((update.site.low, update.site.high) for update in updates)
        self._scale = updates[0].scale
        self._transposed = is_transposed(base)
        self._path = _path(updates[0])

    @property
    def weight(self) -> Tensor:
        """The base module's, for models that look at it."""
        return stored_weight(self.base)

    @property
    def bias(self) -> Tensor | None:
        bias = self.base.bias
        return bias if isinstance(bias, Tensor) else None

    def forward(self, x: Tensor) -> Tensor:
        if self._path == "dense":
            return self._dense(x)
        if self._path == "columns" and not torch.is_grad_enabled():
            return self.base(x)  # W holds the update, and nothing need be kept
        columns = self._path == "columns"
        run, tensors = (columns_linear, self._pairs()) if columns else (low_rank_linear, self._factors())
        return run(x, self.weight, self.bias, self._transposed, self._scale, self._spans, tensors)

    def _pairs(self) -> list[Tensor]:
        return [t for update in self._parts if isinstance(update, ColumnsUpdate) for t in (update.index, update.b)]

    def _factors(self) -> list[Tensor]:
        return [t for update in self._parts if isinstance(update, LowRankUpdate) for t in (update.a, update.b)]

    def _dense(self, x: Tensor) -> Tensor:
        y = self.base(x)
        parts, end = [], 0
        for (low, high), update in zip(self._spans, self._parts, strict=True):
            parts += [y[..., end:low], y[..., low:high] + update.branch(x)]
            end = high
        return torch.cat([*parts, y[..., end:]], dim=-1)


def _path(update: SiteUpdate) -> str:
    if not update.site.writable or isinstance(update, BaSparseUpdate):
        return "dense"
    return "columns" if isinstance(update, ColumnsUpdate) else "low_rank"


def inject(model: nn.Module, updates: Mapping[str, SiteUpdate]) -> None:
    """Replace every module that holds a site by its `Adapted`; `updates` is keyed by site path."""
    by_module: dict[str, list[SiteUpdate]] = {}
    for update in updates.values():
        by_module.setdefault(update.site.module_path, []).append(update)
    for path, parts in by_module.items():
        _replace(model, path, Adapted(parts[0].site.module, parts))


def eject(model: nn.Module, sites: Sequence[AdapterSite]) -> None:
    """The plain modules back in their places."""
    for site in sites:
        _replace(model, site.module_path, site.module)


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    module.train(model.get_submodule(path).training)
    setattr(model.get_submodule(parent), name, module)
