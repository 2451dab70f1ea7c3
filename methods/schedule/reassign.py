"""Components whose gate is gone are cut, and given to the weights that need all of theirs: L1RA.

https://arxiv.org/abs/2509.04884 and its code: at the end of each part of the training, gates below 1e-10 go (negative
ones too), each weight keeps at least one component, and what became free goes round the weights that lost none, in
descending order of their smallest gate. A new component has gate 1, a row of A from N(0, 1) / r and a zero column of B.
The total of all ranks stays; what no weight can take waits for the next round.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.method import NO_CHANGE, Change, Draw, Progress
from methods.rank_spec import Reassign
from methods.schedule.base import Updates
from methods.schedule.constant import ConstantSchedule
from methods.training import Training
from methods.update.gated import GatedUpdate
from methods.update.resize import resize

GONE = 1e-10


class ReassignSchedule(ConstantSchedule):
    """After a change, all moments of the adapters start anew, as the released code makes a new optimizer."""

    updates: Mapping[str, GatedUpdate]  # type: ignore[assignment]

    def __init__(self, spec: Reassign) -> None:
        self.spec = spec
        self._changes: list[dict[str, Any]] = []

    def attach(self, updates: Updates, draw: Draw) -> None:
        super().attach(updates, draw)
        self._total = sum(len(update.gate) for update in self.updates.values())

    def begin(self, training: Training) -> None:
        rounds = self.spec.rounds
        self._due = {round(part * training.total / rounds) for part in range(1, rounds)}

    def after_step(self, progress: Progress) -> Change:
        return self._round(progress.step) if progress.step in self._due else NO_CHANGE

    def _round(self, step: int) -> Change:
        kept = {path: _kept(update.gate.detach().cpu()) for path, update in self.updates.items()}
        ranks = {path: len(indices) for path, indices in kept.items()}
        new = self._shared_out(ranks)
        changed = [path for path, update in self.updates.items() if ranks[path] < len(update.gate) or new[path]]
        if not changed:
            return NO_CHANGE
        replaced = []
        for path in changed:
            update, rank = self.updates[path], ranks[path] + new[path]
            generator = self.draw("init", "reassign", path, step)
            rows = torch.randn(new[path], update.site.in_features, generator=generator) / rank
            replaced += resize(update, kept[path], rows, moments=False)
        forget = tuple(p for path, u in self.updates.items() if path not in changed for p in u.parameters())
        now = {path: len(update.gate) for path, update in self.updates.items()}
        self._changes.append({"event": "reassign", "step": step, "ranks": now})
        return Change(forget=forget, replaced=tuple(replaced), event=self._changes[-1])

    def _shared_out(self, ranks: Mapping[str, int]) -> dict[str, int]:
        """How many components each weight gets: those that are free, round the weights that lost none."""
        free = self._total - sum(ranks.values())
        whole = [path for path, update in self.updates.items() if ranks[path] == len(update.gate)]
        order = sorted(whole, key=lambda path: -float(self.updates[path].gate.detach().min()))
        new = dict.fromkeys(ranks, 0)
        while free and (able := [path for path in order if self._room(path, ranks[path] + new[path])]):
            for path in able[:free]:
                new[path] += 1
            free -= len(able[:free])
        return new

    def _room(self, path: str, rank: int) -> bool:
        site = self.updates[path].site
        return rank < min(site.in_features, site.out_features)

    def facts(self) -> dict[str, Any]:
        return {"changes": self.history()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._changes = [dict(change) for change in facts["changes"]]

    def history(self) -> list[dict[str, Any]]:
        return [dict(change) for change in self._changes]


def _kept(gate: Tensor) -> Tensor:
    """Indices of the components that stay: at least one, the largest."""
    kept: Sequence[int] = (gate >= GONE).nonzero()[:, 0].tolist() or [int(gate.argmax())]
    return torch.tensor(kept, dtype=torch.long)
