"""A fixed-seed slice of benchmarks/calibration.py: the functions that tables use err as rarely as the docs say."""

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.load import load
from analysis.stats.intervals import range_level
from analysis.tables.competitive import competitive_table
from analysis.tables.relative import relative_time
from benchmarks.calibration import (
    SITUATIONS,
    CalibrationRow,
    markdown,
    simulate,
    simulate_blocks,
    simulate_pooled,
    simulate_times,
)

STUDIES = 1_000
NOISE = 0.014  # two standard errors of an error of 5 % in 1,000 studies
RESULTS = Path(__file__).parents[2] / "benchmarks/results/calibration.md"


def kept_lines() -> list[str]:
    return [line for line in RESULTS.read_text(encoding="utf-8").splitlines() if re.match(r"\| .* \d", line)]


@pytest.mark.long
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
@pytest.mark.parametrize(("seeds", "methods"), [(3, 11), (5, 4)])
def test_equal_methods_are_rarely_called_different_and_what_is_shown_covers(situation, seeds: int, methods) -> None:
    row = simulate(situation, seeds, methods, STUDIES, np.random.default_rng(1))
    assert row.error <= 0.05 + NOISE
    assert row.covered >= 0.93  # of some 700 studies: two standard errors
    assert row.within >= range_level(seeds) - 2 * NOISE  # even of seeds that collapse now and then


@pytest.mark.parametrize("slow", [0.0, 0.1])
def test_equally_quick_methods_are_rarely_called_quicker(slow: float) -> None:
    row = simulate_times(slow, 5, 4, 400, np.random.default_rng(3))
    assert row.error <= 0.05 + 0.022 and row.covered >= 0.95 - 0.022


def test_blocks_of_one_model_do_not_make_equal_methods_differ() -> None:
    assert simulate_blocks(4, 3, 4, 300, np.random.default_rng(4)).error <= 0.05 + 0.025


@pytest.mark.parametrize("what", ["probability of improvement", "interquartile mean"])
def test_pooled_intervals_cover(what: str) -> None:
    assert simulate_pooled(what, 5, 4, 200, np.random.default_rng(5)).covered >= 0.95 - 0.03


def test_a_row_that_fails_is_marked() -> None:
    assert "x ! |" in markdown([CalibrationRow("x", 3, 2, error=0.06)])
    assert "x ! |" in markdown([CalibrationRow("x", 3, 2, covered=0.92)])
    assert "x ! |" in markdown([CalibrationRow("x", 3, 2, within=0.7)])
    assert "!" not in markdown([CalibrationRow("x", 3, 2, 0.055, 0.93, 0.75)])


def test_a_row_that_covers_more_than_is_claimed_is_marked() -> None:
    assert "x + |" in markdown([CalibrationRow("x", 3, 2, covered=0.975)])
    assert "+" not in markdown([CalibrationRow("x", 3, 2, covered=0.969)])


def test_every_sentence_whose_interval_covers_more_says_at_least(written) -> None:
    frame = load("tiny", written())
    tables = {
        "times": relative_time(frame),
        "skewed (log-normal)": competitive_table(frame),
    }
    notes = {situation: " ".join(table.notes) for situation, table in tables.items() if table}
    for line in kept_lines():
        situation = line.split("|")[1].split(",")[0].removesuffix(" + ").strip()
        covered = line.split("|")[5].removesuffix(" % ").strip()
        assert (" + |" in line) == bool(covered and float(covered) >= 97)
        assert " + |" not in line or "at least 95 %" in notes[situation]


def test_the_kept_table_has_every_situation_and_no_row_that_fails() -> None:
    lines = kept_lines()
    assert len(lines) > 90 and not [line for line in lines if "!" in line]
    assert all(any(line.startswith(f"| {s.name}") for line in lines) for s in SITUATIONS)
