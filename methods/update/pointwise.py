"""ΔW = s·f(B·A) with f applied to every entry: the rank is no longer that of B·A. Materialises out × in.

There is no fast path. f is computed in the dtype of the factors, whatever autocast says.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.errors import MethodError
from methods.update.low_rank import LowRankUpdate
from methods.update.spectrum import ranks_of


class PointwiseUpdate(LowRankUpdate):
    """A relative gives f by `entries`; f(0) = 0, so that the model starts where it was."""

    def entries(self, product: Tensor) -> Tensor:
        """f of B·A (out, in), differentiable."""
        raise NotImplementedError

    def pair(self) -> tuple[Tensor, Tensor]:
        """(f(B·A), I)."""
        with torch.autocast(self.a.device.type, enabled=False):
            moved = self.entries(self.b @ self.a)
        return moved, torch.eye(self.site.in_features, dtype=self.a.dtype, device=self.a.device)

    def delta(self) -> Tensor:
        """ΔW (out, in), in the dtype of the factors."""
        with torch.autocast(self.a.device.type, enabled=False):
            return self.scale * self.entries(self.b @ self.a)

    def branch(self, x: Tensor) -> Tensor:
        return F.linear(x, self.delta().to(x.dtype))

    def factors(self) -> tuple[Tensor, Tensor]:
        raise MethodError("f(BA) is not of low rank; merge the model instead of exporting an adapter.")

    @torch.no_grad()
    def report(self) -> dict[str, float | int]:
        """What rank f has made of it."""
        return ranks_of(self.delta())
