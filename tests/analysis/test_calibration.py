"""A fixed-seed slice of benchmarks/calibration.py: the functions that tables use err as rarely as the docs say."""

import numpy as np
import pytest

from benchmarks.calibration import SITUATIONS, CalibrationRow, markdown, simulate, simulate_blocks

STUDIES = 1_000
NOISE = 0.014  # two standard errors of an error of 5 % in 1,000 studies


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
@pytest.mark.parametrize(("seeds", "methods"), [(3, 11), (5, 4)])
def test_equal_methods_are_rarely_called_different(situation, seeds: int, methods: int) -> None:
    row = simulate(situation, seeds, methods, STUDIES, np.random.default_rng(1))
    assert row.error <= 0.05 + NOISE


@pytest.mark.parametrize("situation", SITUATIONS[:4], ids=lambda s: s.name)
def test_the_interval_covers_where_seeds_are_symmetric(situation) -> None:
    assert simulate(situation, 5, 2, STUDIES, np.random.default_rng(2)).covered >= 0.95 - NOISE


def test_a_seed_that_collapses_now_and_then_is_not_covered() -> None:
    """Three seeds of which none collapsed cannot know that one of ten does: the docs say so."""
    assert simulate(SITUATIONS[-1], 3, 2, STUDIES, np.random.default_rng(3)).covered < 0.5


def test_blocks_of_one_model_do_not_make_equal_methods_differ() -> None:
    assert simulate_blocks(4, 3, 4, 300, np.random.default_rng(4)).error <= 0.05 + 0.025


def test_a_row_that_fails_is_marked() -> None:
    assert "6.0 % !" in markdown([CalibrationRow("x", 3, 2, 0.06, 0.95)])
    assert "92.0 % !" in markdown([CalibrationRow("x", 3, 2, 0.05, 0.92)])
    assert "!" not in markdown([CalibrationRow("x", 3, 2, 0.055, 0.93)])
