"""A search for ranks, then a training anew at those that it selected: AutoLoRA's two phases in one run."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.method import NO_CHANGE, Change, Progress
from methods.rank_spec import Select
from methods.schedule.constant import ConstantSchedule
from methods.training import Training
from methods.update.init import factor
from methods.update.weighted import WeightedUpdate

_ROUNDING = 1e-9  # equal weights are 1 / rank, and rounding must not say otherwise


class SelectSchedule(ConstantSchedule):
    """The rank of a weight is the number of its components whose share is at least 1 / rank; the largest always is.

    Nothing of the search is kept but the ranks: factors, optimizer moments and the head start anew.
    """

    updates: Mapping[str, WeightedUpdate]  # type: ignore[assignment]

    def __init__(self, spec: Select) -> None:
        self.spec = spec
        self._selected: dict[str, Any] | None = None

    def begin(self, training: Training) -> None:
        self._last = self.spec.search_steps(training.total)

    def after_step(self, progress: Progress) -> Change:
        return self._select(progress.step) if progress.step == self._last else NO_CHANGE

    @torch.no_grad()
    def _select(self, step: int) -> Change:
        shares = {path: _shares(update) for path, update in self.updates.items()}
        ranks = {path: int((share >= 1 / len(share) - _ROUNDING).sum()) for path, share in shares.items()}
        replaced = []
        for path, update in self.updates.items():
            generator = self.draw("init", "retrain", path)
            rows = factor(update.inits[0], (ranks[path], update.site.in_features), generator)
            replaced += update.select(rows)
        self._selected = {"event": "selected", "step": step, "ranks": ranks, "shares": _rounded(shares)}
        event = {"event": "selected", "ranks": ranks}
        return Change(replaced=tuple(replaced), anew=True, event=event)

    def facts(self) -> dict[str, Any]:
        return {"selected": self._selected}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._selected = facts["selected"]
        if self._selected is not None:
            for update in self.updates.values():
                update.drop_selection()

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        """What was best in the search has a rank that no weight has now."""
        return facts["selected"] is None and self._selected is not None

    def history(self) -> list[dict[str, Any]]:
        return [] if self._selected is None else [dict(self._selected)]


def _shares(update: WeightedUpdate) -> Tensor:
    selection = update.selection
    assert isinstance(selection, nn.Parameter), "the search ends once"
    return selection.detach().double().softmax(0).cpu()


def _rounded(shares: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {path: [round(value, 6) for value in share.tolist()] for path, share in shares.items()}
