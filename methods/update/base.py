"""What an update of one weight is: its state, its plain reference, and the fast path it may declare."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.method import Draw, Progress, Replaced
from methods.sites import AdapterSite
from methods.update.linear import FrozenLinear
from methods.update.link import LinkEnd

FastPath = Callable[[Sequence[Any], Tensor, FrozenLinear], Tensor]  # updates of one module, x (…, in), W to y (…, out)


class SiteUpdate(nn.Module):
    """One site's update. `branch` is what it means; all else must agree with it.

    fast_path: the whole output of a module with its updates, as a faster expression (a staticmethod). It is not
    inherited, as a subclass computes something else unless it says so itself; without one, and for a weight that is
    sharded or quantised, the module runs as it is and `branch` is added.
    peers: all updates of the method, this one among them, for a penalty that is a mean over all.
    writes_at_end: whether `end` writes W; such an update makes no chain on a weight that cannot be written.
    """

    fast_path: ClassVar[FastPath | None] = None
    writes_at_end: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "fast_path" not in cls.__dict__:
            cls.fast_path = None

    def __init__(self, site: AdapterSite) -> None:
        super().__init__()
        self.site = site
        self.peers: Sequence[SiteUpdate] = (self,)

    def begin(self, draw: Draw, link: int) -> None:
        """First values, drawn from the adapter's own streams; of link `link` in a chain, 0 without one. ΔW is zero."""
        raise NotImplementedError

    def start(self, state: Mapping[str, Tensor]) -> None:
        """From the update of a source run, as its `state` was."""
        self.load(state)

    def branch(self, x: Tensor) -> Tensor:
        """The reference: x (…, in) to x·ΔWᵀ (…, out), differentiable."""
        raise NotImplementedError

    def finished(self, x: Tensor) -> Tensor | None:
        """x·ΔWᵀ (…, out) of finished links that are kept beside W; None where W or `branch` holds them."""
        return None

    def beside(self) -> Sequence[Tensor]:
        """Tensors on W's device that hold finished links for a W that cannot, and are no parameters or buffers."""
        return ()

    def to_link(self, link: int, draw: Draw) -> None:
        """The shapes of a later link, for counting on the meta device, which has no values to end a link with."""
        for number in range(1, link + 1):
            self.begin(draw, number)

    def penalty(self) -> Tensor | None:
        """What this site adds to the loss of every optimizer step."""
        return None

    def after_step(self, progress: Progress) -> None:
        """Called after every optimizer step, while its gradients are still there."""

    def end(self) -> LinkEnd:
        """The end of a chain's link: the update becomes part of W for good."""
        raise NotImplementedError

    def merge(self) -> None:
        """The present update into W; raises MethodError where W cannot be written."""
        raise NotImplementedError

    def reset(self) -> None:
        """W as it was loaded, no link finished."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """(B, A) whose product is the whole ΔW, all links included. Raises MethodError when it is not of low rank."""
        raise NotImplementedError

    def report(self) -> dict[str, Any] | None:
        """JSON-ready facts of the present update for the record: its ranks."""
        return None

    def state(self) -> dict[str, Tensor]:
        """The live tensors that make the present update."""
        raise NotImplementedError

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The reverse, whatever their shapes."""
        for name, tensor in state.items():
            self.put(name, tensor)

    @torch.no_grad()
    def put(self, name: str, value: Tensor) -> None:
        """Set a parameter or buffer; a value of another shape takes the old one's place."""
        old = self.get_parameter(name) if name in self._parameters else self.get_buffer(name)
        if old.shape == value.shape:
            old.copy_(value)
        elif isinstance(old, nn.Parameter):
            self.replace(name, value)
        else:
            setattr(self, name, value.to(old.device, old.dtype, copy=True))

    def replace(
        self,
        name: str,
        value: Tensor,
        moments: Callable[[Tensor], Tensor] | None = None,
        squares: Callable[[Tensor], Tensor] | None = None,
    ) -> Replaced:
        """A new parameter in the place of one, of any shape: what a change of rank tells the loop."""
        old = self.get_parameter(name)
        values = value.detach().to(old.device, old.dtype, copy=True)
        new = nn.Parameter(values.contiguous(), old.requires_grad)  # as it is read back: strides decide the last bits
        setattr(self, name, new)
        return Replaced(old, new, moments, squares)
