"""Bilevel selection (AutoLoRA): while it searches, rows held out of train move the selection variables, and no other.

Validation and test rows take no part. Both levels step at once, from the same values, in one optimizer whose group
"selection" has its own rate and betas: a search step is four forward and backward passes instead of one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from harness.ledger.errors import DataError
from harness.tasks.task import Batch
from harness.training.context import RunContext
from harness.training.loader import DataLoader
from harness.training.loop import backward, seed_dropout
from harness.training.optimizer import SELECTION
from harness.training.procedures.hypergradient import bilevel_backward
from harness.training.schedule import TrainSchedule
from methods.rank_spec import SEARCH_PASSES, Select


@dataclass
class Bilevel:
    """The gradients of a run of `total` steps, the first `search` of them a search; outer: the held-out rows."""

    search: int
    total: int
    outer: DataLoader
    _batches: Iterator[list[Batch]] | None = field(default=None, init=False)

    @property
    def passes(self) -> float:
        return 1 + (SEARCH_PASSES - 1) * self.search / self.total

    def backward(self, context: RunContext, optimizer: torch.optim.Optimizer, window: list[Batch], step: int) -> Tensor:
        """As the loop's own, but for the selection variables in the search; step: from 0."""
        if step >= self.search:
            return backward(context, window)
        self._batches = self._batches or self.outer.steps(step)
        groups = optimizer.param_groups
        inner = [(p, group["lr"]) for group in groups if group["name"] != SELECTION for p in group["params"]]
        outer = [p for group in groups if group["name"] == SELECTION for p in group["params"]]
        loss = partial(_loss, context, step)
        parameters, rates = zip(*inner, strict=True)
        return bilevel_backward(parameters, rates, outer, partial(loss, window), partial(loss, next(self._batches)))


@dataclass(frozen=True)
class SearchLoader(DataLoader):
    """Batches of the inner rows for `search` steps, then of all rows."""

    inner: DataLoader
    search: int

    def steps(self, start: int) -> Iterator[list[Batch]]:
        if start < self.search:
            yield from islice(self.inner.steps(start), self.search - start)
        yield from super().steps(max(start - self.search, 0))


def with_search(context: RunContext, schedule: TrainSchedule) -> tuple[RunContext, TrainSchedule]:
    """Both as they are where the method selects nothing; else with a search, whose end the rates begin anew at."""
    select = context.spec.method.schedule
    if not isinstance(select, Select):
        return context, schedule
    loader, search = context.loader, select.search_steps(schedule.total)
    inner, outer = _halves(loader, select.held_out)
    phased = SearchLoader(**vars(loader), inner=inner, search=search)
    procedure = Bilevel(search, schedule.total, outer)
    return replace(context, loader=phased, procedure=procedure), replace(schedule, anew_at=search)


def _halves(loader: DataLoader, share: float) -> tuple[DataLoader, DataLoader]:
    """The inner rows and the held-out ones, by the run's seed. Raises DataError when there are too few for both."""
    total = len(loader.examples)
    held_out = round(share * total)
    if not 0 < held_out < total:
        raise DataError(f"{total} training rows leave none for one level at schedule.held_out={share:g}.")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(loader.seeds.of("data", "held_out")))
    rows = order.tolist()
    return _part(loader, sorted(rows[held_out:])), _part(loader, sorted(rows[:held_out]))


def _part(loader: DataLoader, rows: Sequence[int]) -> DataLoader:
    examples: Any = Subset(loader.examples, rows)  # type: ignore[arg-type]
    return replace(loader, examples=examples, lengths=[loader.lengths[row] for row in rows])


def _loss(context: RunContext, step: int, window: list[Batch]) -> Tensor:
    """The loop's loss, with the dropout masks of the step each time."""
    seed_dropout(context, step)
    return backward(context, window)
