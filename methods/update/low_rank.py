"""ΔW = s·B·A of one site: LoRA (https://arxiv.org/abs/2106.09685), and its relatives that train one factor only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.method import Draw
from methods.sites import AdapterSite, stored_weight
from methods.spec import BaSparse, Init, LowRank
from methods.update.base import SiteUpdate
from methods.update.init import factor
from methods.update.linear import FrozenLinear
from methods.update.link import LinkEnd
from methods.update.low_rank_linear import low_rank_linear


def plain(rank: int, alpha: float) -> LowRank:
    """LoRA: what its relatives start from."""
    return LowRank("low_rank", rank, alpha, True, True, "kaiming_uniform", "zero")


class LowRankUpdate(SiteUpdate):
    """A (rank, in) and B (out, rank), in float32 (float64 for a float64 model). A frozen factor is a buffer.

    A relative that trains more than A and B overrides `pair`, and `branch` where its update is no product.

    In a chain, W as loaded and the factors of all finished links are in host memory: what is rounded into a
    half-precision W at a link's end is their sum in float32, so that links below its resolution are not lost.
    Where W cannot be written (it is quantised or sharded), the finished links stay beside it, as one stack of factors.
    """

    a: Tensor
    b: Tensor
    writes_at_end = False  # W holds the link, or a stack beside it does

    def __init__(self, spec: LowRank | BaSparse, site: AdapterSite) -> None:
        super().__init__(site)
        init_b = spec.init_b if isinstance(spec, LowRank) else "zero"
        if (spec.init_a == "zero") == (init_b == "zero"):
            raise MethodError("exactly one of init_a and init_b must be zero: else the model moves at once, or never.")
        self.scale = spec.alpha / spec.rank
        self.inits: tuple[Init, Init] = (spec.init_a, init_b)
        weight = stored_weight(site.module)
        dtype = master_dtype(weight.dtype)
        a = torch.empty(spec.rank, site.in_features, dtype=dtype, device=weight.device)
        b = torch.empty(site.out_features, spec.rank, dtype=dtype, device=weight.device)
        self._register("a", a, not isinstance(spec, LowRank) or spec.train_a)
        self._register("b", b, not isinstance(spec, LowRank) or spec.train_b)
        self._original: Tensor | None = None  # W as loaded, once a link has ended
        self._past: list[tuple[Tensor, Tensor]] = []  # (B, A) of the finished links
        self._stack: tuple[Tensor, Tensor] | None = None  # the same side by side, where W cannot hold them

    def _register(self, name: str, tensor: Tensor, trained: bool) -> None:
        if trained:
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    @torch.no_grad()
    def begin(self, draw: Draw, link: int) -> None:
        """Draw the factors of a link from the adapter's own stream; the factor that starts at zero is zero again."""
        generator = draw("init", "adapter", self.site.path, link)
        for tensor, init in zip((self.a, self.b), self.inits, strict=True):
            tensor.copy_(factor(init, (tensor.shape[0], tensor.shape[1]), generator))

    def pair(self) -> tuple[Tensor, Tensor]:
        """(B (out, n), A (n, in)), differentiable: ΔW of the link in progress is s·B·A."""
        return self.b, self.a

    def delta(self) -> Tensor:
        """ΔW (out, in) of the link in progress, dense and differentiable."""
        b, a = self.pair()
        return self.scale * (b @ a)

    def branch(self, x: Tensor) -> Tensor:
        """x (…, in) to x·ΔWᵀ (…, out) of the link in progress."""
        b, a = self.pair()
        return (x @ a.t().to(x.dtype)) @ b.t().to(x.dtype) * self.scale

    @staticmethod
    def fast_path(updates: Sequence["LowRankUpdate"], x: Tensor, linear: FrozenLinear) -> Tensor:
        factors = [tensor for update in updates for tensor in reversed(update.pair())]
        scale = updates[0].scale
        return low_rank_linear(x, linear.weight, linear.bias, linear.transposed, scale, linear.spans, factors)

    @torch.no_grad()
    def end(self) -> LinkEnd:
        """The link's update becomes part of W for good; what it was made of is remembered."""
        b, a = self.pair()
        if not self.site.writable:
            end = self._keep_beside(b, a)
        else:
            if self._original is None:
                self._original = self._writable().to("cpu", copy=True)
            end = self._merge_into()
        self._past.append((b.detach().to("cpu", copy=True), a.detach().to("cpu", copy=True)))
        return end

    def _keep_beside(self, b: Tensor, a: Tensor) -> LinkEnd:
        before_b, before_a = self._stack or (b[:, :0], a[:0])
        self._stack = torch.cat([before_b, b], dim=1), torch.cat([before_a, a])
        return LinkEnd(float(self.delta().square().sum()), 0.0, self.site.in_features)

    def finished(self, x: Tensor) -> Tensor | None:
        if self._stack is None:
            return None
        b, a = self._stack
        return (x @ a.t().to(x.dtype)) @ b.t().to(x.dtype) * self.scale

    def beside(self) -> Sequence[Tensor]:
        return self._stack or ()

    def to_link(self, link: int, draw: Draw) -> None:
        if not self.site.writable:
            b, a = (tensor.detach() for tensor in self.pair())
            self._stack = b.repeat(1, link), a.repeat(link, 1)

    @torch.no_grad()
    def merge(self) -> None:
        """The link in progress into W."""
        self._merge_into()

    def _merge_into(self) -> LinkEnd:
        """W <- W + ΔW in float32, rounded once to the dtype of W (study, §1.3)."""
        weight = self._writable()
        delta = self.delta()
        value = self._value(weight) + delta
        weight.copy_(value)
        return LinkEnd(float(delta.square().sum()), float((value - weight).square().sum()), self.site.in_features)

    def _value(self, weight: Tensor) -> Tensor:
        """W with all finished links; of a half-precision W, in float32 and not rounded."""
        if self._original is None or weight.dtype == self.a.dtype:
            return weight
        value = self._original.to(weight.device, self.a.dtype)
        for b, a in self._past:
            value += self.scale * (b.to(weight.device) @ a.to(weight.device))
        return value

    @torch.no_grad()
    def reset(self) -> None:
        """W as it was loaded, no link finished."""
        if self._original is not None:
            self._writable().copy_(self._original)
        self._original, self._past, self._stack = None, [], None

    def _writable(self) -> Tensor:
        if not self.site.writable:
            raise MethodError(f"{self.site.path} is sharded or quantised: it cannot be written; export the adapter.")
        return self.site.weight

    @torch.no_grad()
    def factors(self) -> tuple[Tensor, Tensor]:
        """(B, A) of the sum of all links, the scale folded into B."""
        b, a = self.pair()
        links = [*self._past, (b.detach().cpu(), a.detach().cpu())]
        moved = [(b, a) for b, a in links if bool(b.any()) and bool(a.any())] or links[-1:]
        return self.scale * torch.cat([b for b, _ in moved], dim=1), torch.cat([a for _, a in moved], dim=0)

    def state(self) -> dict[str, Tensor]:
        return {"a": self.a.detach(), "b": self.b.detach()}
