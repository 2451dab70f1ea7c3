"""ΔW = s·(φ(B·A) - φ(0)) of one site, φ a learned sum of sinc functions: our reading of LR-LoRA.

The method section of https://arxiv.org/abs/2606.04325 is no source of this file; results are "LR-LoRA (reading)".
φ starts as the least-squares fit of φ(z) - φ(0) = z on [-span, span], so that training starts as LoRA's does. With φ at
zero and centres around zero, φ'(0) = 0, and B would never get a gradient.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from methods.method import Draw
from methods.rank_spec import Sinc
from methods.sites import AdapterSite
from methods.update.low_rank import plain
from methods.update.pointwise import PointwiseUpdate

_POINTS = 257  # of the grid on which φ is fitted
_CUT = 1e-6  # singular values of the fit below this share of the largest are noise
_ONE = math.log(math.e - 1)  # softplus of it is 1


class SincUpdate(PointwiseUpdate):
    """A, B, the heights h (knots) and widths (knots) whose softplus is ω."""

    centres: Tensor

    def __init__(self, spec: Sinc, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        like: Mapping[str, torch.dtype | torch.device] = {"dtype": self.a.dtype, "device": self.a.device}
        self._span = spec.span
        centres = torch.linspace(-spec.span, spec.span, spec.knots, dtype=torch.float64)
        self.register_buffer("centres", centres.to(**like))  # type: ignore[arg-type]
        self.height = nn.Parameter(torch.empty(spec.knots, **like))  # type: ignore[arg-type]
        self.width = nn.Parameter(torch.empty(spec.knots, **like))  # type: ignore[arg-type]

    @torch.no_grad()
    def begin(self, draw: Draw, link: int) -> None:
        super().begin(draw, link)
        self.height.copy_(fitted_heights(len(self.centres), self._span))
        self.width.fill_(_ONE)

    def entries(self, product: Tensor) -> Tensor:
        """One sinc after the other, so that no tensor is larger than the weight."""
        moved = torch.zeros_like(product)
        omegas = nn.functional.softplus(self.width)
        for height, omega, centre in zip(self.height, omegas, self.centres, strict=True):
            moved = moved + height * (_sinc(omega * (product - centre)) - _sinc(-omega * centre))
        return moved

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"height": self.height.detach(), "width": self.width.detach()}


def fitted_heights(knots: int, span: float) -> Tensor:
    """h (knots) in float64 with Σ h_k (sinc(z - c_k) - sinc(-c_k)) closest to z on [-span, span]."""
    centres = torch.linspace(-span, span, knots, dtype=torch.float64)
    z = torch.linspace(-span, span, _POINTS, dtype=torch.float64)
    basis = _sinc(z[:, None] - centres) - _sinc(-centres)
    return torch.linalg.lstsq(basis, z[:, None], rcond=_CUT, driver="gelsd").solution[:, 0]


def _sinc(u: Tensor) -> Tensor:
    """sin(u) / u, 1 at 0; torch's own has π in it."""
    return torch.sinc(u / math.pi)
