"""ΔW = s·sin(ω·B·A) / √in of one site: Sine-LoRA (https://arxiv.org/abs/2403.19243)."""

import math

from torch import Tensor

from methods.rank_spec import Sine
from methods.sites import AdapterSite
from methods.update.low_rank import plain
from methods.update.pointwise import PointwiseUpdate


class SineUpdate(PointwiseUpdate):
    """A and B as in LoRA; ω is fixed."""

    def __init__(self, spec: Sine, site: AdapterSite) -> None:
        super().__init__(plain(spec.rank, spec.alpha), site)
        self._omega = spec.omega

    def entries(self, product: Tensor) -> Tensor:
        return (self._omega * product).sin() / math.sqrt(self.site.in_features)
