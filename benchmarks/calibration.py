"""How often tests err and intervals cover: simulated studies of equal methods, as a Markdown table.

    python -m benchmarks.calibration [--quick]

The functions are those that tables use. A row is marked `!` where the family-wise error is above 5.5 % or the coverage
below what is claimed less two points (95 % for intervals, `range_level` for the range over seeds): no such sentence may
be said. `+`: the coverage is 97 % or more, and the sentence says "at least 95 %": Student's t errs on that side where
tails are long (Benjamini 1983). Where a seed is far off, tables show no
interval of a difference; such studies are left out of its coverage.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from analysis.stats.intervals import log_ratio_interval, range_level, spread, t_quantile
from analysis.stats.paired import pairwise_t
from analysis.stats.pooled import pooled_improvement, pooled_iqm
from analysis.stats.ranks import ranking
from analysis.tables.cells import far_seeds

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
SEEDS, METHODS = (3, 5, 10), (2, 4, 11)
SEED_SD = 0.3  # SD of seeds, in points


@dataclass(frozen=True)
class Situation:
    """`draw` gives what seeds add to a score (median 0), in points; `steps` the scores' resolutions."""

    name: str
    draw: Draw
    steps: tuple[float, ...] = (0.1,)


def _collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    at_the_median = 0.139710 * SEED_SD  # of the nine tenths that stay: half of all is 5/9 of them
    return np.where(rng.uniform(size=shape) < 0.1, -30.0, 0.0) + at_the_median + rng.normal(0, SEED_SD, shape)


SITUATIONS = (
    *(
        Situation(
            f"coarse scores, SD {sd}", lambda rng, shape, sd=sd: rng.normal(0, sd, shape), (1, 100 / 224, 0.2, 0.1)
        )
        for sd in (0.2, 0.3, 0.5)
    ),
    Situation("heavy tails (t, 3 df)", lambda rng, shape: SEED_SD * rng.standard_t(3, shape)),
    Situation("skewed (log-normal)", lambda rng, shape: SEED_SD * (1 - rng.lognormal(0, 1, shape))),
    Situation("one seed of ten collapses", _collapsing),
)


@dataclass(frozen=True)
class CalibrationRow:
    """Shares of studies. error: some pair is called different; covered: the truth is inside an interval of 95 %; range:
    the median is within the range over seeds, of which `range_level` is promised.
    """

    situation: str
    seeds: int
    methods: int
    error: float = np.nan
    covered: float = np.nan
    within: float = np.nan


def family_wise_error(x: Floats, step: float) -> float:
    """Share of studies x (studies, seeds, methods) of equal methods in which some pair has a Holm-adjusted p < .05."""
    p = pairwise_t(x, step).reshape(len(x), -1)
    return float((np.nanmin(p, axis=1) < 0.05).mean())


def shift_coverage(x: Floats, step: float) -> float:
    """Share of studies whose interval of the first two methods' difference holds 0, of those that have one."""
    shown = np.array([not far_seeds(study, step)[:2].any() for study in x])
    paired, n = (x[..., 0] - x[..., 1])[shown], x.shape[1]
    half = t_quantile(0.975, n - 1) * np.array([spread(d, step) for d in paired]) / np.sqrt(n)
    return float((np.abs(paired.mean(axis=1)) <= half + 1e-9).mean())


def range_coverage(x: Floats, truth: Floats) -> float:
    """Share of studies in which the range over seeds of the first method holds the median, truth (studies,)."""
    first = x[..., 0]
    return float(((first.min(axis=1) <= truth + 1e-9) & (truth <= first.max(axis=1) + 1e-9)).mean())


def simulate(situation: Situation, seeds: int, methods: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """The worst of the situation's resolutions: the largest error, the smallest coverages."""
    errors, covered, within = [], [], []
    for step in situation.steps:
        base = rng.uniform(60, 90, (studies, 1, 1))
        x = np.round((base + situation.draw(rng, (studies, seeds, methods))) / step) * step
        errors.append(family_wise_error(x, step))
        covered.append(shift_coverage(x, step))
        within.append(range_coverage(x, np.round(base[:, 0, 0] / step) * step))
    return CalibrationRow(situation.name, seeds, methods, max(errors), min(covered), min(within))


def simulate_times(slow: float, seeds: int, methods: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """Training times of equally quick methods: drift of the machine by seed (10 %), noise (1 %), and a share of `slow`
    runs that take half as long again. The error is that of "quicker", the coverage that of the ratio of two times.
    """
    drift = rng.normal(0, 0.1, (studies, seeds, 1))
    late = np.log(1.5) * (rng.uniform(size=(studies, seeds, methods)) < slow)
    times = np.exp(3 + drift + late + rng.normal(0, 0.01, (studies, seeds, methods)))
    ratios = [log_ratio_interval(study[:, 0], study[:, 1]) for study in times[:2_000]]
    covered = float(np.mean([r.low <= 1 <= r.high for r in ratios]))
    name = "times" if not slow else f"times, {slow:.0%} of runs half as long again"
    return CalibrationRow(name, seeds, methods, family_wise_error(np.log(times), 0.0), covered)


def simulate_pooled(what: str, seeds: int, blocks: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """Coverage of the probability of improvement (methods half an SD apart), or of the interquartile mean."""
    covered = []
    for _ in range(studies):
        x = rng.normal(0, 1, (seeds, blocks, 2)) + np.array([0.0, 0.5])
        if what == "probability of improvement":
            truth, pooled = 0.638163, pooled_improvement(x, 0)  # Φ(0.5 / √2)
        else:
            truth, pooled = 0.5, pooled_iqm(x, rng, reps=400)
        covered.append(pooled.low[1] <= truth <= pooled.high[1])
    return CalibrationRow(f"{what}, {blocks} blocks", seeds, 2, covered=float(np.mean(covered)))


def simulate_blocks(models: int, datasets: int, methods: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """Methods that a model likes or not (SD 1), equal over all models: relabelled by model, as tables do."""
    names, errors = np.repeat(np.arange(models), datasets).tolist(), []
    for _ in range(studies):
        liking = np.repeat(rng.normal(0, 1, (models, methods)), datasets, axis=0)
        ranked = ranking(liking + rng.normal(0, 0.5, liking.shape), clusters=names)
        pairs = [pair.holm for pair in ranked.pairs]
        errors.append(ranked.p < 0.05 if methods > 2 else min(pairs) < 0.05)
    return CalibrationRow(f"{models} models × {datasets} datasets", datasets, methods, float(np.mean(errors)))


def rows(studies: int, seed: int = 20260613) -> list[CalibrationRow]:
    """Every row of the table."""
    rng, few = np.random.default_rng(seed), studies // 5
    within = [simulate(s, n, m, studies, rng) for s, n, m in product(SITUATIONS, SEEDS, METHODS)]
    times = [simulate_times(slow, n, m, studies, rng) for slow, n, m in product((0.0, 0.1), SEEDS, METHODS)]
    shapes = ((3, 1), (4, 3), (6, 1), (8, 3))
    across = [simulate_blocks(a, b, m, few, rng) for (a, b), m in product(shapes, METHODS[:2])]
    kinds = ("probability of improvement", "interquartile mean")
    pooled = [simulate_pooled(k, n, b, few, rng) for k, n, b in product(kinds, SEEDS, (2, 4, 10))]
    return within + times + across + pooled


def is_bad(row: CalibrationRow) -> bool:
    """Whether some sentence of the row must not be said; chance is given 0.5 % and 2 %."""
    return row.error > 0.055 or row.covered < 0.93 or row.within < range_level(row.seeds) - 0.02


def markdown(table: list[CalibrationRow]) -> str:
    """The table; `!` where a sentence must not be said, `+` where it must say "at least"."""
    lines = [
        "| situation | seeds or datasets | methods | family-wise error | coverage of intervals | median within range |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in table:
        shares = (f"{100 * v:.1f} %" if v == v else "" for v in (row.error, row.covered, row.within))
        mark = " !" * is_bad(row) + " +" * (round(100 * row.covered, 1) >= 97)
        lines.append(f"| {row.situation}{mark} | {row.seeds} | {row.methods} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 studies a row instead of 10,000")
    print(markdown(rows(2_000 if parser.parse_args().quick else 10_000)))


if __name__ == "__main__":
    main()
