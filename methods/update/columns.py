"""ΔW[:, idx] = s·B of one site: cLA and its random and chained variants (study, §1.2), and PaCA on W itself.

B is kept in float32 whatever W is stored in; W's columns are rounded once per write from `value` = base + s·B, so that
bfloat16 weights lose nothing from step to step. Values of columns of past links are kept in float32 too.
"""

from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.method import Draw, Progress
from methods.sites import AdapterSite, stored_weight
from methods.spec import Columns
from methods.update.base import SiteUpdate
from methods.update.columns_linear import columns_linear
from methods.update.linear import FrozenLinear
from methods.update.link import LinkEnd
from methods.update.selector import select

_SHARED: WeakValueDictionary[tuple[str, tuple[int, ...]], Tensor] = WeakValueDictionary()


def shared_index(index: Tensor, device: torch.device) -> Tensor:
    """One tensor for all modules that select the same columns, so that they can share what they gather."""
    key = (str(device), tuple(index.tolist()))
    shared = _SHARED.get(key)
    if shared is None:
        shared = _SHARED[key] = index.to(device, copy=True)
    return shared


class ColumnsUpdate(SiteUpdate):
    """B (out, rank) and idx (rank,) of the link in progress, and the float32 values of every column touched so far.

    The update lives in W (the fast path), unless W cannot be written by column.
    """

    index: Tensor
    b: Tensor
    writes_at_end = False  # W holds the link already, or a branch adds all of them

    def __init__(self, spec: Columns, site: AdapterSite) -> None:
        super().__init__(site)
        self.scale = spec.alpha / spec.rank
        self._in_weight = site.writable
        self._spec = spec
        like = stored_weight(site.module)
        dtype = master_dtype(like.dtype)
        self.b = nn.Parameter(torch.zeros(site.out_features, spec.rank, dtype=dtype, device=like.device))
        self.register_buffer("index", torch.zeros(spec.rank, dtype=torch.int64, device=like.device))
        self._forget()

    def _forget(self) -> None:
        """No column touched yet."""
        rows = self.b.new_empty(self.b.shape[0], 0)
        self._touched = torch.zeros(0, dtype=torch.int64)  # (n,) column numbers, in order of first use; in host memory
        self._before = self.site.weight[:, :0].clone() if self._in_weight else rows  # (out, n) as loaded
        self._value = rows.detach()  # (out, n) after the last finished link, float32

    @torch.no_grad()
    def begin(self, draw: Draw, link: int) -> None:
        """Move on to the columns of a link; the update of the link before must have been ended."""
        self._enter(select(self._spec, self.site.in_features, self.site.path, link, draw))

    def _enter(self, index: Tensor) -> None:
        """`index` in host memory: the book-keeping needs its values, also for a model on the meta device."""
        self.index = shared_index(index, self.b.device)
        new = index[~torch.isin(index, self._touched)]
        if self._in_weight or self.site.quantised:
            columns = self.site.weight.index_select(1, new.to(self.index.device)).to(self._before.dtype)
        else:
            columns = self._before.new_zeros(self._before.shape[0], len(new))
        self._touched = torch.cat([self._touched, new])
        self._before = torch.cat([self._before, columns], dim=1)
        self._value = torch.cat([self._value, columns.to(self._value.dtype)], dim=1)
        here = (self._touched[None, :] == index[:, None]).int().argmax(dim=1)
        self._here = here.to(self.index.device)  # (rank,) positions of the present columns among the touched ones
        base = self._value.index_select(1, self._here)
        self._base = base if self._spec.start == "zero" else torch.zeros_like(base)
        self.b.copy_(torch.zeros_like(base) if self._spec.start == "zero" else base / self.scale)

    def _now(self) -> Tensor:
        return self._base + self.scale * self.b

    def after_step(self, progress: Progress) -> None:
        self._write()

    @torch.no_grad()
    def _write(self) -> None:
        """Make W[:, idx] = base + s·B true again."""
        if self._in_weight:
            self.site.weight.index_copy_(1, self.index, self._now().to(self._before.dtype))

    @torch.no_grad()
    def end(self) -> LinkEnd:
        """The link's update becomes part of W for good."""
        self._write()
        now, were = self._now(), self._value[:, self._here]
        self._value[:, self._here] = now
        lost = now - now.to(self._before.dtype)
        return LinkEnd(float((now - were).square().sum()), float(lost.square().sum()), len(self._touched))

    @torch.no_grad()
    def reset(self) -> None:
        """W as it was loaded, no link finished."""
        if self._in_weight:
            self.site.weight.index_copy_(1, self._touched.to(self.index.device), self._before)
        self._forget()

    @staticmethod
    def fast_path(updates: Sequence["ColumnsUpdate"], x: Tensor, linear: FrozenLinear) -> Tensor:
        if not torch.is_grad_enabled():
            return linear.module(x)  # W holds the update, and nothing need be kept
        pairs = [tensor for update in updates for tensor in (update.index, update.b)]
        scale = updates[0].scale
        return columns_linear(x, linear.weight, linear.bias, linear.transposed, scale, linear.spans, pairs)

    def branch(self, x: Tensor) -> Tensor:
        """x (…, in) to x·ΔWᵀ (…, out) of all links, for a W that holds none of them."""
        moved = self._value.index_copy(1, self._here, self._now()) - self._before.to(self._value.dtype)
        return x.index_select(-1, self._touched.to(x.device)) @ moved.t().to(x.dtype)

    @torch.no_grad()
    def factors(self) -> tuple[Tensor, Tensor]:
        """(B, A) of the sum of all links: A's rows select the touched columns, B holds how far each has moved."""
        value = self._value.index_copy(1, self._here, self._now())
        rows = value.new_zeros(len(self._touched), self.site.in_features)
        rows[torch.arange(len(self._touched)), self._touched] = 1.0
        return value - self._before.to(value.dtype), rows

    def beside(self) -> Sequence[Tensor]:
        return () if self._in_weight else (self._before, self._value, self._base)

    def merge(self) -> None:
        """W holds the update already."""
        if not self._in_weight:
            raise MethodError(f"{self.site.path} is sharded or quantised: it cannot be written; export the adapter.")

    def state(self) -> dict[str, Tensor]:
        return {"b": self.b.detach(), "index": self.index.clone()}  # modules may share the index

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The state of a link; W follows."""
        self._enter(state["index"].cpu())
        self.b.copy_(state["b"])
        self._write()
