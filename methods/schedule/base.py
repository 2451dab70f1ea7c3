"""What a schedule is: how the updates of a method change in the course of a training."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from methods.method import Change, Draw, Progress
from methods.training import Training
from methods.update.base import SiteUpdate

Updates = Mapping[str, SiteUpdate]  # by site path


class Schedule(Protocol):
    """A schedule bound to the updates of one method. The method keeps their present state; a schedule what is past."""

    def attach(self, updates: Updates, draw: Draw) -> None:
        """The updates, at their first values. Raises MethodError for what the sites' weights do not allow."""
        ...

    def start(self) -> None:
        """The updates have the values of the source run's."""
        ...

    def begin(self, training: Training) -> None:
        """The length of the training is known, and the spec's `why_not` had nothing against it."""
        ...

    def after_step(self, progress: Progress) -> Change:
        """Called after every optimizer step and after the updates' own `after_step`; gradients are still there."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What is needed beside the present state of the updates; no name begins with "adapter." or "head."."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON-ready state beside the tensors."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The reverse, on updates that were reset; their present state is loaded after it, whatever its shapes."""
        ...

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        """As `Method.outdates`."""
        ...

    def history(self) -> list[dict[str, Any]]:
        """One JSON-ready entry per change so far."""
        ...
