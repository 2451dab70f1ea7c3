"""A trained adapter at every rank below its own, and with its parameters dropped: score against latency and share.

Nothing is trained. DyLoRA is served at its own nested ranks; other low-rank updates are cut to the closest product of
that rank. Latency is that of the unmerged adapter; a merged one has none of its own.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.load import Data
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.life import Say
from harness.measure.clocks import synchronise
from harness.measure.precision import autocast
from harness.tasks.task import Task
from harness.training.evaluate import predict, score
from methods.adapters import AdapterMethod
from methods.compress import compress
from methods.drop import How, drop
from methods.spec import Chain
from methods.update.low_rank import LowRankUpdate
from methods.update.nested import NestedUpdate

EVERY = 16  # each rank up to this is served, and powers of two above it
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02)  # of parameters kept
DRAWS = 3  # of random drops
REPEATS = 15  # timed passes at each rank, in turns


@dataclass(frozen=True)
class Bench:
    """What an adapter is evaluated with."""

    model: Any
    task: Task
    data: Data
    dataset: DatasetSpec
    batch_size: int
    precision: str
    device: torch.device

    def scores(self) -> dict[str, float]:
        """The primary metric of validation and test."""
        splits = (("val", self.data.validation), ("test", self.data.test))
        return {name: self._score(split) for name, split in splits}

    def _score(self, split: Any) -> float:
        context = autocast(self.precision, self.device)  # type: ignore[arg-type]
        predictions = predict(
            self.model, self.task, split, split.lengths,
            batch_size=self.batch_size, device=self.device, autocast=context,
        )  # fmt: skip
        return score(self.task, predictions, len(split))[self.dataset.metric].value


def why_not(method: Any) -> str | None:
    """A sentence for a method that cannot be shrunk, else None."""
    if isinstance(method, AdapterMethod) and isinstance(method.spec.schedule, Chain):
        return "its finished links are in the weights, so that only the last could be cut"
    if isinstance(method, AdapterMethod) and all(
        type(update) in (LowRankUpdate, NestedUpdate) for update in method.updates.values()
    ):
        return None
    return "only LoRA-like updates (low_rank) and DyLoRA's (nested) can be served at lower ranks"


def shrink(method: AdapterMethod, bench: Bench, seed: int, say: Say = lambda words: None) -> dict[str, Any]:
    """whole, served (by rank, descending) and dropped, as plain data; the adapter is left as it was."""
    updates: Mapping[str, Any] = method.updates
    say("the score as it was trained")
    answer: dict[str, Any] = {"whole": bench.scores(), "served": [], "dropped": []}
    ranks = _ranks(updates)
    for number, rank in enumerate(ranks, 1):
        say(f"the score at rank {rank}, {number} of {len(ranks)}")
        with _at_rank(updates, rank):
            answer["served"].append({"rank": rank} | bench.scores())
    say("the time of a forward pass, all ranks in turns")
    for entry, seconds in zip(answer["served"], _latencies(updates, bench, ranks), strict=True):
        entry["latency_ms"] = 1e3 * seconds
    for kept in SHARES:
        for how, draws in (("random", DRAWS), ("magnitude", 1)):
            for draw in range(draws):
                say(f"the score with {kept:.0%} of the parameters, {how}, draw {draw + 1} of {draws}")
                with _changed(updates, _dropper(kept, how, seed, draw)):
                    answer["dropped"].append({"how": how, "kept": kept, "draw": draw} | bench.scores())
    return answer


def _ranks(updates: Mapping[str, Any]) -> list[int]:
    """The largest rank and those below it, descending: all up to EVERY, and above it the powers of two."""
    largest = max(update.a.shape[0] for update in updates.values())
    powers = (2**n for n in range(largest.bit_length()))
    return sorted({largest, *powers, *range(1, min(largest, EVERY) + 1)}, reverse=True)


@contextmanager
def _at_rank(updates: Mapping[str, Any], rank: int) -> Iterator[None]:
    nested = [update for update in updates.values() if isinstance(update, NestedUpdate)]
    if not nested:
        with _changed(updates, lambda path, b, a: _cut(b, a, rank)):
            yield
        return
    for update in nested:
        update.serve(min(rank, update.a.shape[0]))
    try:
        yield
    finally:
        for update in nested:
            update.serve(update.a.shape[0])


def _cut(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    small = compress(b, a, min(rank, a.shape[0]))
    return small.b, small.a


def _dropper(kept: float, how: Any, seed: int, draw: int) -> Callable[[str, Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1000 * seed + draw)
    which: How = how
    return lambda path, b, a: (drop(b, kept, which, generator), drop(a, kept, which, generator))


@contextmanager
def _changed(
    updates: Mapping[str, Any], change: Callable[[str, Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Iterator[None]:
    """B and A of every update as `change` makes them; the old tensors themselves come back."""
    before = {path: (update.b, update.a) for path, update in updates.items()}
    try:
        for path, update in updates.items():
            b, a = change(path, update.b.detach(), update.a.detach())
            _set(update, b, a)
        yield
    finally:
        for path, (b, a) in before.items():
            _set(updates[path], b, a)


def _set(update: Any, b: Tensor, a: Tensor) -> None:
    for name, tensor in (("b", b), ("a", a)):
        is_parameter = name in dict(update.named_parameters(recurse=False))
        value = tensor if isinstance(tensor, nn.Parameter) or not is_parameter else nn.Parameter(tensor)
        setattr(update, name, value)


@torch.no_grad()
def _latencies(updates: Mapping[str, Any], bench: Bench, ranks: Sequence[int]) -> list[float]:
    """Median seconds of a forward pass of one batch at each rank; ranks take turns, so that drift is shared."""
    rows = [bench.data.test[i] for i in range(min(bench.batch_size, len(bench.data.test)))]
    batch = bench.task.collate(rows, None).to(bench.device)
    times: list[list[float]] = [[] for _ in ranks]
    bench.model.eval()
    for repeat in range(REPEATS + 1):
        for place, rank in enumerate(ranks):
            with _at_rank(updates, rank), autocast(bench.precision, bench.device):  # type: ignore[arg-type]
                synchronise(bench.device)
                start = time.perf_counter()
                bench.task.predict(bench.model, batch)
                synchronise(bench.device)
                times[place] += [time.perf_counter() - start] if repeat else []  # the first one warms up
    return [statistics.median(values) for values in times]
