"""Which examples make which batch. Stateless: the order of an epoch depends on the seed and the epoch alone,
so a resumed run meets the same batches, and every method of a seed meets them in the same order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from harness.ledger.seeds import Seeds
from harness.tasks.task import Batch, Example, Task
from harness.training.world import ALONE, World

POOL = 50  # batches whose examples are sorted by length together: little padding, yet a random order


@dataclass(frozen=True)
class DataLoader:
    """The training examples of a run, and how they become optimizer steps."""

    examples: Sequence[Example]
    lengths: Sequence[int]
    task: Task
    batch_size: int
    accumulate: int
    seeds: Seeds

    @property
    def steps_per_epoch(self) -> int:
        micro = -(-len(self.examples) // self.batch_size)
        return -(-micro // self.accumulate)

    def steps(self, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each optimizer step, from step `start` on, without end."""
        epoch, skip = divmod(start, self.steps_per_epoch)
        while True:
            order = bucketed(self.lengths, self.batch_size, self.seeds.of("data", "order", epoch))
            for step in range(skip, self.steps_per_epoch):
                window = order[step * self.accumulate : (step + 1) * self.accumulate]
                rng = torch.Generator().manual_seed(self.seeds.of("augment", epoch, step))
                yield [self.task.collate([self.examples[i] for i in rows], rng) for rows in window]
            epoch, skip = epoch + 1, 0

    def reference(self) -> list[Batch]:
        """The micro-batches of a step over the longest rows: no step of any seed holds more tokens, padding included.

        Equal for every seed and method of a dataset and recipe, so that exact counts of a step are too.
        """
        rows = sorted(range(len(self.examples)), key=lambda row: (-self.lengths[row], row))
        rows = rows[: self.batch_size * self.accumulate]
        batches = [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [self.task.collate([self.examples[i] for i in batch], torch.Generator()) for batch in batches]


def bucketed(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """Every row once, in batches of similar length: shuffle, sort in pools of `POOL` batches, shuffle the batches."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(lengths), generator=rng).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(rows), POOL * batch_size):
        pool = sorted(rows[start : start + POOL * batch_size], key=lambda row: lengths[row])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]


def in_order(
    examples: Sequence[Example], lengths: Sequence[int], task: Task, batch_size: int, world: World = ALONE
) -> Iterator[tuple[list[int], Batch]]:
    """Every example once, longest first, with the rows of each batch: the order of every evaluation.

    Of several processes, each has every so manieth batch, and as many as the others, the first one again if need be.
    """
    rows = sorted(range(len(examples)), key=lambda row: (-lengths[row], row))
    turns = range(world.rank * batch_size, len(rows) + world.rank * batch_size, world.size * batch_size)
    for start in (start if start < len(rows) else 0 for start in turns):
        chunk = rows[start : start + batch_size]
        yield chunk, task.collate([examples[row] for row in chunk], None)
