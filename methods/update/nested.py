"""The first b components of B·A, b drawn for every step: DyLoRA (https://arxiv.org/abs/2210.07558), of one site.

At rank b the scale is alpha / b. All sites have the same b in a step. Evaluation, merge and export are of all
components, or of the first few that `serve` names.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from methods.method import Draw, Progress
from methods.rank_spec import Nested
from methods.sites import AdapterSite
from methods.update.linear import FrozenLinear
from methods.update.low_rank import LowRankUpdate, plain
from methods.update.low_rank_linear import low_rank_linear


class NestedUpdate(LowRankUpdate):
    """A and B as in LoRA, and `drawn`, the rank of the step that comes."""

    def __init__(self, spec: Nested, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        self._spec = spec
        self.drawn = self._served = spec.rank

    def begin(self, draw: Draw, link: int) -> None:
        super().begin(draw, link)
        self._draw = draw
        self._next(0)

    def after_step(self, progress: Progress) -> None:
        self._next(progress.step)

    def _next(self, step: int) -> None:
        """The generator is of the step alone, so that all sites, and a resumed run, draw the same."""
        self.drawn = 1 + int(torch.randint(self._spec.rank, (1,), generator=self._draw("rank", "nested", step)))

    def serve(self, rank: int) -> None:
        """Evaluate, merge and export the first `rank` components."""
        if not 1 <= rank <= self._spec.rank:
            raise ValueError(f"rank {rank} is not one of 1 to {self._spec.rank}")
        self._served = rank

    def _first(self, rank: int) -> tuple[Tensor, Tensor]:
        """√(r / rank) times each factor: the scale is alpha / rank."""
        root = (self._spec.rank / rank) ** 0.5
        return root * self.b[:, :rank], root * self.a[:rank]

    def pair(self) -> tuple[Tensor, Tensor]:
        return self._first(self._served)

    def _working(self) -> tuple[Tensor, Tensor]:
        """What the forward pass multiplies by: in training, the first components as drawn."""
        if not self.training:
            return self.pair()
        b, a = self._first(self.drawn)
        if not self._spec.freeze:
            return b, a
        last = self.drawn - 1
        return torch.cat([b[:, :last].detach(), b[:, last:]], dim=1), torch.cat([a[:last].detach(), a[last:]])

    def branch(self, x: Tensor) -> Tensor:
        b, a = self._working()
        return (x @ a.t().to(x.dtype)) @ b.t().to(x.dtype) * self.scale

    @staticmethod
    def fast_path(updates: Sequence["NestedUpdate"], x: Tensor, linear: FrozenLinear) -> Tensor:
        factors = [tensor for update in updates for tensor in reversed(update._working())]
        scale = updates[0].scale
        return low_rank_linear(x, linear.weight, linear.bias, linear.transposed, scale, linear.spans, factors)

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"drawn": torch.tensor(self.drawn)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        super().load({name: tensor for name, tensor in state.items() if name != "drawn"})
        self.drawn = int(state["drawn"])
