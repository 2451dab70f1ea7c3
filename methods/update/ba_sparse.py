"""ΔW = s·(M ⊙ BA) of one site: the BA-sparse family (study, §1.4). Materialises out × in; there is no fast path.

M keeps an entry when |BA| is among the top ⌈keep·in⌉ of its row and the top ⌈keep·out⌉ of its column. Ties are kept,
so M keeps everything while BA = 0. M is a constant for the gradient: only kept entries pass it on.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.errors import MethodError
from methods.method import Progress
from methods.sites import AdapterSite
from methods.spec import BaSparse
from methods.update.low_rank import LowRankUpdate


class BaSparseUpdate(LowRankUpdate):
    """A, B as in LoRA and the mask M (out, in) of the last time it was taken."""

    mask: Tensor

    def __init__(self, spec: BaSparse, site: AdapterSite) -> None:
        super().__init__(spec, site)
        if not 0 < spec.keep <= 1 or spec.every < 1:
            raise MethodError(f"keep = {spec.keep} must be in (0, 1] and every = {spec.every} at least 1.")
        self._spec = spec
        mask = torch.ones(site.out_features, site.in_features, dtype=torch.bool, device=self.a.device)
        self.register_buffer("mask", mask)

    def _masked(self) -> bool:
        """`final` trains as LoRA does and is masked in everything else."""
        return self._spec.mask == "training" or not self.training

    def pair(self) -> tuple[Tensor, Tensor]:
        """(M ⊙ BA, I), masked whatever the mode."""
        return (self.b @ self.a) * self.mask, torch.eye(self.site.in_features, dtype=self.a.dtype, device=self.a.device)

    def delta(self) -> Tensor:
        """ΔW (out, in), masked whatever the mode."""
        return self.scale * (self.b @ self.a) * self.mask

    def branch(self, x: Tensor) -> Tensor:
        if not self._masked():
            return (x @ self.a.t().to(x.dtype)) @ self.b.t().to(x.dtype) * self.scale
        if self._spec.evaluate == "sparse" and not self.training:
            flat = x.reshape(-1, x.shape[-1]).to(self.a.dtype)
            with torch.autocast(x.device.type, enabled=False):  # not every device multiplies sparse bfloat16
                y = torch.sparse.mm(self.delta().to_sparse(), flat.t())
            return y.t().reshape(*x.shape[:-1], -1).to(x.dtype)
        return F.linear(x, self.delta().to(x.dtype))

    @torch.no_grad()
    def take_mask(self) -> None:
        self.mask.copy_(top_share(self.b @ self.a, self._spec.keep))

    def after_step(self, progress: Progress) -> None:
        """Take the mask anew every `every` optimizer steps; `final` needs none while it trains."""
        if self._spec.mask == "training" and progress.step % self._spec.every == 0:
            self.take_mask()

    def train(self, mode: bool = True) -> "BaSparseUpdate":
        """`final` takes its mask when the model goes into evaluation."""
        if not mode and self._spec.mask == "final":
            self.take_mask()
        return super().train(mode)

    def merge(self) -> None:
        if self._spec.mask == "final":
            self.take_mask()
        super().merge()

    def factors(self) -> tuple[Tensor, Tensor]:
        raise MethodError("a masked update is not of low rank; merge the model instead of exporting an adapter.")

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"mask": self.mask}


def top_share(matrix: Tensor, share: float) -> Tensor:
    """Boolean (out, in): |entry| at least the ⌈share·in⌉-th of its row and the ⌈share·out⌉-th of its column."""
    size = matrix.abs()
    out, width = size.shape
    by_row = size.topk(math.ceil(share * width), dim=1).values[:, -1:]
    by_column = size.topk(math.ceil(share * out), dim=0).values[-1:, :]
    return (size >= by_row) & (size >= by_column)
