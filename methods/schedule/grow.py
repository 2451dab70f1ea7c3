"""The rank grows in the course of a training: linearly, by doubling, or where validation stalls."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.method import NO_CHANGE, Change, Draw, Progress
from methods.rank_spec import Grow
from methods.schedule.base import Updates
from methods.schedule.constant import ConstantSchedule
from methods.update.init import factor
from methods.update.low_rank import LowRankUpdate
from methods.update.resize import resize


class GrowSchedule(ConstantSchedule):
    """Every weight from its own first rank. `_seen`: validation scores that a check has looked at already."""

    updates: Mapping[str, LowRankUpdate]  # type: ignore[assignment]

    def __init__(self, spec: Grow) -> None:
        self.spec = spec
        self._changes: list[dict[str, Any]] = []
        self._seen = 0

    def attach(self, updates: Updates, draw: Draw) -> None:
        super().attach(updates, draw)
        self._first = {path: update.a.shape[0] for path, update in self.updates.items()}

    def after_step(self, progress: Progress) -> Change:
        """No growth at the last step, as nothing new would be trained."""
        if progress.step >= progress.total:
            return NO_CHANGE
        due = self.spec.shape == "adaptive" and progress.step % self.spec.every == 0
        more = self.spec.add if due and self._stalled(progress.validation) else 0
        replaced = []
        for path, update in self.updates.items():
            rank, target = update.a.shape[0], self._target(path, progress.step, more)
            if target > rank:
                generator = self.draw("init", "grow", path, progress.step)
                rows = factor(update.inits[0], (target - rank, update.site.in_features), generator)
                replaced += resize(update, torch.arange(rank), rows, moments=True)
        if not replaced:
            return NO_CHANGE
        ranks = {path: update.a.shape[0] for path, update in self.updates.items()}
        self._changes.append({"event": "grow", "step": progress.step, "ranks": ranks})
        return Change(replaced=tuple(replaced), event=self._changes[-1])

    def _target(self, path: str, step: int, more: int) -> int:
        first, most = self._first[path], self.spec.max_rank
        if self.spec.shape == "adaptive":
            now = self.updates[path].a.shape[0]
            return min(now + more, most)
        if self.spec.shape == "step":
            return min(first * 2 ** min(step // self.spec.every, 32), most)
        return first + int(min(step / (10 * self.spec.every), 1.0) * (most - first))

    def _stalled(self, scores: tuple[float, ...]) -> bool:
        """Whether there are new scores since the last check, older ones, and nothing better among the new."""
        old, new, self._seen = scores[: self._seen], scores[self._seen :], len(scores)
        return bool(old) and bool(new) and max(new) <= max(old)

    def facts(self) -> dict[str, Any]:
        return {"changes": self.history(), "seen": self._seen}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._changes, self._seen = [dict(change) for change in facts["changes"]], facts["seen"]

    def history(self) -> list[dict[str, Any]]:
        return [dict(change) for change in self._changes]
