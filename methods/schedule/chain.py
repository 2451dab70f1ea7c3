"""A chain: at the end of each link the update is merged into W and starts anew (study, §1.2 and §1.3)."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from torch import Tensor

from methods.errors import MethodError
from methods.method import NO_CHANGE, Change, Draw, Progress
from methods.schedule.base import Updates
from methods.schedule.constant import ConstantSchedule
from methods.schedule.link_ends import count_ends, ends_at, link_length
from methods.spec import Chain
from methods.training import Training

State = dict[str, dict[str, Tensor]]  # site path -> the state of its update


class ChainSchedule(ConstantSchedule):
    """Finished links are kept in host memory; a chain that did not merge as often as it should is an error (I22)."""

    def __init__(self, spec: Chain) -> None:
        self.spec = spec
        self._length: Fraction | None = None
        self._past: list[State] = []
        self._links: list[dict[str, Any]] = []

    def attach(self, updates: Updates, draw: Draw) -> None:
        super().attach(updates, draw)
        for path, update in updates.items():
            if update.writes_at_end and not update.site.writable:
                raise MethodError(f"a chain merges into W at every link, and {path} is sharded or quantised.")

    def begin(self, training: Training) -> None:
        self._length = link_length(self.spec, training.total, training.steps_per_epoch)

    def after_step(self, progress: Progress) -> Change:
        """At the end of a link (never at the last step): merge, next factor or columns, and no moments of the old."""
        assert self._length is not None, "begin comes before the first step"
        if ends_at(self._length, progress.step, progress.total):
            return self._next_link(progress.step)
        due = count_ends(self._length, progress.total)
        if progress.step >= progress.total and len(self._links) != due:
            raise MethodError(f"{len(self._links)} of {due} links were merged.")
        return NO_CHANGE

    def _next_link(self, step: int) -> Change:
        self._past.append({path: _copied(update.state()) for path, update in self.updates.items()})
        self._links.append(self._end_link(step))
        for update in self.updates.values():
            update.begin(self.draw, len(self._links))
        trained = tuple(p for update in self.updates.values() for p in update.parameters())
        return Change(forget=trained, event={"event": "link"} | self._links[-1])

    def _end_link(self, step: int) -> dict[str, Any]:
        ends = [update.end() for update in self.updates.values()]
        moved = math.sqrt(sum(end.update_squared for end in ends))
        lost = math.sqrt(sum(end.lost_squared for end in ends))
        return {
            "index": len(self._links),
            "step": step,
            "update_norm": moved,
            "cast_error": lost / moved if moved else 0.0,
            "columns": max(end.columns for end in ends),
        }

    def tensors(self) -> dict[str, Tensor]:
        """link.<n>.<site>.<name> for each finished link."""
        return {
            f"link.{number}.{path}.{name}": tensor
            for number, link in enumerate(self._past)
            for path, state in link.items()
            for name, tensor in state.items()
        }

    def facts(self) -> dict[str, Any]:
        return {"links": self.history()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The finished links are merged again, in order."""
        self._links = [dict(link) for link in facts["links"]]
        self._past = []
        for number in range(len(self._links)):
            self._past.append({path: _copied(under(tensors, f"link.{number}.{path}.")) for path in self.updates})
        for path, update in self.updates.items():
            for link in self._past:
                update.load(link[path])
                update.end()

    def history(self) -> list[dict[str, Any]]:
        return [dict(link) for link in self._links]


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}
