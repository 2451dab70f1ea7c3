"""Which columns a selector draws, over many draws."""

import torch

from methods.spec import Columns
from methods.update.selector import select

WIDTH, RANK = 6, 4


def drawn(selector):
    """The columns of one site, for eighty seeds."""
    spec = Columns("columns", RANK, 8.0, selector, "zero")
    seeds = [torch.Generator().manual_seed(seed) for seed in range(80)]
    return [select(spec, WIDTH, "a.b", 0, lambda *use, seed=seed: seed).tolist() for seed in seeds]


def test_a_window_is_neighbours_at_every_offset_that_fits_and_no_other():
    assert {tuple(columns) for columns in drawn("window")} == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}


def test_random_columns_are_distinct_in_order_and_need_not_be_neighbours():
    columns = drawn("random")
    assert all(each == sorted(set(each)) and len(each) == RANK for each in columns)
    assert len({tuple(each) for each in columns}) == 15  # all of them: 6 over 4
