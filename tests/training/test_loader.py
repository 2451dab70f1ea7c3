"""Which examples make which batch."""

import random

import pytest
import torch

from harness.ledger.seeds import Seeds
from harness.tasks.task import Batch
from harness.training.loader import DataLoader, bucketed, in_order

LENGTHS = [random.Random(row).randint(1, 60) for row in range(1003)]


class Rows:
    """A task whose batch is the rows themselves."""

    def collate(self, examples, rng):
        rows = torch.tensor(examples)
        noise = torch.rand(1, generator=rng) if rng else torch.zeros(1)
        return Batch({"rows": rows, "noise": noise}, rows, tuple(map(str, examples)), len(examples), 1, 1)


def _feed(seed=0, accumulate=1):
    return DataLoader(range(len(LENGTHS)), LENGTHS, Rows(), 16, accumulate, Seeds(seed))


def _steps(loader, start, count):
    stream = loader.steps(start)
    return [[batch.ids for batch in next(stream)] for _ in range(count)]


def test_an_epoch_holds_every_row_once():
    batches = bucketed(LENGTHS, 16, seed=3)
    assert sorted(row for batch in batches for row in batch) == list(range(1003))
    assert max(map(len, batches)) == 16


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_steps_of_an_epoch_hold_every_row_once(accumulate):
    loader = _feed(accumulate=accumulate)
    steps = _steps(loader, 0, loader.steps_per_epoch)
    assert sorted(int(row) for step in steps for batch in step for row in batch) == list(range(1003))
    assert [len(step) for step in steps] == [accumulate] * (63 // accumulate)  # 1,003 rows are 63 micro-batches


def test_batches_hold_rows_of_similar_length():
    batches = bucketed(LENGTHS, 16, seed=3)
    spread = [max(LENGTHS[r] for r in batch) - min(LENGTHS[r] for r in batch) for batch in batches]
    assert sum(spread) / len(spread) < 5


def test_a_feed_that_starts_in_the_middle_meets_the_same_batches():
    loader = _feed(accumulate=2)
    assert _steps(loader, 0, 70)[45:] == _steps(loader, 45, 25)  # 32 steps an epoch: start in the second one


@pytest.mark.parametrize("accumulate", [1, 3])
def test_no_step_of_any_seed_is_longer_than_the_reference_batch(accumulate):
    def longest(window):
        return [max(LENGTHS[int(row)] for row in batch.ids) for batch in window]

    loader = _feed(accumulate=accumulate)
    reference = loader.reference()
    assert [len(batch.ids) for batch in reference] == [16] * accumulate
    assert longest(reference)[0] == max(LENGTHS)
    for seed in range(3):
        other = _feed(seed, accumulate)
        assert [batch.ids for batch in other.reference()] == [batch.ids for batch in reference]
        stream = other.steps(0)
        for _ in range(loader.steps_per_epoch):
            assert sum(longest(next(stream))) <= sum(longest(reference))


def test_a_split_smaller_than_a_batch_is_the_reference_batch():
    loader = DataLoader(range(3), [5, 9, 7], Rows(), 16, 2, Seeds(0))
    assert [batch.ids for batch in loader.reference()] == [("1", "2", "0")]


def test_augmentation_does_not_depend_on_where_the_feed_started():
    late, early = _feed().steps(5), _feed().steps(0)
    for _ in range(5):
        next(early)
    assert torch.equal(next(late)[0].inputs["noise"], next(early)[0].inputs["noise"])


def test_seeds_and_epochs_have_orders_of_their_own():
    one_epoch = _feed().steps_per_epoch
    assert _steps(_feed(0), 0, 5) == _steps(_feed(0), 0, 5)
    assert _steps(_feed(0), 0, 5) != _steps(_feed(1), 0, 5)
    assert _steps(_feed(0), 0, 5) != _steps(_feed(0), one_epoch, 5)


def test_an_evaluation_meets_every_row_once_and_the_longest_first():
    rows = [row for chunk, _ in in_order(range(1003), LENGTHS, Rows(), 16) for row in chunk]
    assert sorted(rows) == list(range(1003))
    assert LENGTHS[rows[0]] == max(LENGTHS)
