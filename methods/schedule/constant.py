"""The update is the same from the first step to the last. Also what other schedules change only parts of."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.method import NO_CHANGE, Change, Draw, Progress
from methods.schedule.base import Updates
from methods.training import Training


class ConstantSchedule:
    """Changes nothing and remembers nothing."""

    def attach(self, updates: Updates, draw: Draw) -> None:
        self.updates, self.draw = updates, draw

    def start(self) -> None:
        """They go on as they are."""

    def begin(self, training: Training) -> None:
        """Any length will do."""

    def after_step(self, progress: Progress) -> Change:
        return NO_CHANGE

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def facts(self) -> dict[str, Any]:
        return {}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """There is nothing beside the updates' own state."""

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        return False

    def history(self) -> list[dict[str, Any]]:
        return []
