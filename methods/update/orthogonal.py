"""LoRA beside the update of another task: its A is driven orthogonal to that one's (O-LoRA, arXiv:2310.14152, §3.2)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.method import Draw
from methods.sites import AdapterSite
from methods.spec import Orthogonal
from methods.update.low_rank import LowRankUpdate, plain


class OrthogonalUpdate(LowRankUpdate):
    """A, B, and the frozen rows `others` (n, in): A of all tasks before."""

    others: Tensor
    fast_path = staticmethod(LowRankUpdate.fast_path)

    def __init__(self, spec: Orthogonal, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        self._weight = spec.orthogonal
        self.register_buffer("others", self.a.detach().new_zeros(0, site.in_features))

    def begin(self, draw: Draw, link: int) -> None:
        super().begin(draw, link)
        self._draw = draw

    @torch.no_grad()
    def start(self, state: Mapping[str, Tensor]) -> None:
        """Remember A of the source and what that was kept apart from. The own A is drawn anew: at the same seed, tasks
        would begin with the same A."""
        self.put("others", torch.cat([state["a"], *([state["others"]] if "others" in state else [])]))
        self.begin(self._draw, len(self.others))

    def penalty(self) -> Tensor | None:
        """orthogonal·‖A·A'ᵀ‖_F², the sum over all tasks before."""
        return self._weight * (self.a @ self.others.t()).square().sum() if self._weight else None

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"others": self.others}
