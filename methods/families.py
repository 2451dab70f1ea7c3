"""The families of kinds that a method is made of. Other packages join them (`methods.kinds`). Standard library only."""

from typing import Any, ClassVar

from methods.kinds import Kind
from methods.training import Training


class UpdateSpec(Kind):
    """How the weights may move. A kind is a frozen dataclass with a field `kind: Literal["its name"]`.

    beside_source: learns beside the update of the run that it starts from, whose values and head it does not take over.
    """

    beside_source: ClassVar[bool] = False

    def why_not(self, training: Training) -> str | None:
        """A sentence when this cannot be trained for so long, else None. Asked when planning, and before step 1."""
        return None


class SiteUpdateSpec(UpdateSpec):
    """An update of single weights. A kind from outside (entry point) makes its own `methods.update.base.SiteUpdate`."""

    def make(self, site: Any) -> Any:
        """The update of one `methods.sites.AdapterSite`. The project's own kinds are made in `methods.update.make`."""
        raise NotImplementedError(f"{type(self).__name__} needs a `make` that returns what moves a weight")


class ScheduleSpec(Kind):
    """How the updates change in the course of a training.

    acts_on: the kinds of update that it can change, where it cannot change all; `up_to`, its largest rank, is a field
    or property of those that raise ranks. of_source: changes the trained update of the run that it starts from, so that
    both runs have the same update. to_its_end: is what it says only at the end of the training. begins_anew: makes a
    `Change` that is `anew`.
    """

    acts_on: ClassVar[tuple[str, ...] | None] = None
    of_source: ClassVar[bool] = False
    to_its_end: ClassVar[bool] = False
    begins_anew: ClassVar[bool] = False

    def why_not(self, training: Training) -> str | None:
        """A sentence when this has no room in the training, else None. Asked when planning, and before step 1."""
        return None

    def make(self) -> Any:
        """The `methods.schedule.base.Schedule`. The project's own kinds are made in `methods.schedule.make`."""
        raise NotImplementedError(f"{type(self).__name__} needs a `make` that returns what changes the updates")
