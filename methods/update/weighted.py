"""ΔW = s·B·diag(softmax(w))·A of one site: AutoLoRA's search (https://arxiv.org/abs/2403.09113, §3)."""

import torch
from torch import Tensor, nn

from methods.method import Draw, Replaced
from methods.rank_spec import Weighted
from methods.sites import AdapterSite
from methods.update.low_rank import LowRankUpdate, plain


class WeightedUpdate(LowRankUpdate):
    """A, B and the selection variables w (rank); without w, once a rank was selected, plain LoRA."""

    fast_path = staticmethod(LowRankUpdate.fast_path)

    def __init__(self, spec: Weighted, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        self._rank = spec.rank
        self.selection: nn.Parameter | None = None
        self._search()

    def _search(self) -> None:
        if self.selection is None:
            self.selection = nn.Parameter(torch.empty(self._rank, dtype=self.a.dtype, device=self.a.device))

    @torch.no_grad()
    def begin(self, draw: Draw, link: int) -> None:
        """All components weigh the same."""
        super().begin(draw, link)
        assert self.selection is not None
        self.selection.fill_(1.0)

    def pair(self) -> tuple[Tensor, Tensor]:
        return (self.b, self.a) if self.selection is None else (self.b * self.selection.softmax(0), self.a)

    @torch.no_grad()
    def select(self, rows: Tensor) -> list[Replaced]:
        """Plain LoRA from new `rows` (n, in) of A and from zero."""
        self.drop_selection()
        zeros = self.b.new_zeros(len(self.b), len(rows))
        return [self.replace("a", rows), self.replace("b", zeros)]

    def drop_selection(self) -> None:
        """As after `select`; its factors are loaded next."""
        self.selection = None

    def reset(self) -> None:
        """In the search again."""
        super().reset()
        self._search()

    def state(self) -> dict[str, Tensor]:
        return super().state() | ({} if self.selection is None else {"selection": self.selection.detach()})

    def report(self) -> dict[str, int]:
        return {"rank": self.a.shape[0], "components": self.a.shape[0]}
