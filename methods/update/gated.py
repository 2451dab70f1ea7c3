"""ΔW = s·B·diag(g)·A of one site: SoRA (https://arxiv.org/abs/2311.11696) and L1RA (https://arxiv.org/abs/2509.04884)."""

import torch
from torch import Tensor, nn

from methods.method import Draw, Progress
from methods.rank_spec import Gated
from methods.sites import AdapterSite
from methods.update.low_rank import LowRankUpdate, plain


class GatedUpdate(LowRankUpdate):
    """A, B and the gate g (rank)."""

    fast_path = staticmethod(LowRankUpdate.fast_path)

    def __init__(self, spec: Gated, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        self._spec = spec
        self.gate = nn.Parameter(torch.empty(spec.rank, dtype=self.a.dtype, device=self.a.device))

    @torch.no_grad()
    def begin(self, draw: Draw, link: int) -> None:
        """The gates are ones, or N(0, 1) from a stream of their own."""
        super().begin(draw, link)
        ones = torch.ones(len(self.gate))
        generator = draw("init", "gate", self.site.path, link)
        normal = torch.randn(len(self.gate), generator=generator) if self._spec.init_gate == "normal" else ones
        self.gate.copy_(normal)

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.b * self.gate, self.a

    def penalty(self) -> Tensor | None:
        """l1 times this site's part of the mean of |g| over the gates of all sites, whatever their ranks."""
        if not self._spec.l1:
            return None
        gates = sum(len(peer.gate) for peer in self.peers if isinstance(peer, GatedUpdate))
        return self._spec.l1 * self.gate.abs().sum() / gates

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """The proximal operator of shrink·|g|: sign(g)·max(|g| - shrink, 0), exactly zero within `shrink` of zero."""
        if self._spec.shrink:
            self.gate.copy_(nn.functional.softshrink(self.gate, self._spec.shrink))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Without the components whose gate is zero."""
        b, a = super().factors()
        kept = b.any(dim=0) & a.any(dim=1)
        return (b[:, kept], a[kept]) if bool(kept.any()) else (b[:, :1], a[:1])

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"gate": self.gate.detach()}

    def report(self) -> dict[str, int]:
        return {"rank": int(self.gate.count_nonzero()), "components": len(self.gate)}
