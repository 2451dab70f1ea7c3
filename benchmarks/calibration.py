"""How often the tests of a block err, and how often ± covers: simulated studies of equal methods, as a Markdown table.

    python -m benchmarks.calibration [--quick]

The functions are those that tables use. A row where the family-wise error is above 5.5 % or the coverage below 93 % is
marked: there the docs say that the sentence does not hold. Coverage above 97 % is said as "at least".
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from analysis.stats.intervals import spread, t_quantile
from analysis.stats.paired import pairwise_t
from analysis.stats.ranks import ranking

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
SEEDS, METHODS = (3, 5, 10), (2, 4, 11)
SEED_SD = 0.3  # SD of seeds, in points


@dataclass(frozen=True)
class Situation:
    """`draw` gives what seeds add to a score (mean 0 unless said), in points; `steps` the scores' resolutions."""

    name: str
    draw: Draw
    steps: tuple[float, ...] = (0.1,)


def _collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return np.where(rng.uniform(size=shape) < 0.1, -30.0, 0.0) + 3.0 + rng.normal(0, SEED_SD, shape)


SITUATIONS = (
    *(
        Situation(
            f"coarse scores, SD {sd}", lambda rng, shape, sd=sd: rng.normal(0, sd, shape), (1, 100 / 224, 0.2, 0.1)
        )
        for sd in (0.2, 0.3, 0.5)
    ),
    Situation("heavy tails (t, 3 df)", lambda rng, shape: SEED_SD * rng.standard_t(3, shape)),
    Situation("skewed (log-normal)", lambda rng, shape: SEED_SD * (np.exp(0.5) - rng.lognormal(0, 1, shape))),
    Situation("one seed of ten collapses", _collapsing),
)


@dataclass(frozen=True)
class CalibrationRow:
    """Shares of studies: `error`, some pair called different; `covered`, the truth inside a method's ±."""

    situation: str
    seeds: int
    methods: int
    error: float
    covered: float


def family_wise_error(x: Floats, step: float) -> float:
    """Share of studies x (studies, seeds, methods) of equal methods in which some pair has a Holm-adjusted p < .05."""
    p = pairwise_t(x, step).reshape(len(x), -1)
    return float((np.nanmin(p, axis=1) < 0.05).mean())


def coverage(x: Floats, step: float, truth: Floats) -> float:
    """Share of studies whose interval of the first method's mean holds the truth (studies,)."""
    first, n = x[..., 0], x.shape[1]
    half = t_quantile(0.975, n - 1) * np.array([spread(v, step) for v in first]) / np.sqrt(n)
    return float((np.abs(first.mean(axis=1) - truth) <= half).mean())


def simulate(situation: Situation, seeds: int, methods: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """The worst of the situation's resolutions: the largest error, the smallest coverage."""
    errors, covered = [], []
    for step in situation.steps:
        base = rng.uniform(60, 90, (studies, 1, 1))
        x = np.round((base + situation.draw(rng, (studies, seeds, methods))) / step) * step
        errors.append(family_wise_error(x, step))
        covered.append(coverage(x, step, base[:, 0, 0]))
    return CalibrationRow(situation.name, seeds, methods, max(errors), min(covered))


def simulate_blocks(models: int, datasets: int, methods: int, studies: int, rng: np.random.Generator) -> CalibrationRow:
    """Methods that a model likes or not (SD 1), equal over all models: relabelled by model, as tables do."""
    names, errors = np.repeat(np.arange(models), datasets).tolist(), []
    for _ in range(studies):
        liking = np.repeat(rng.normal(0, 1, (models, methods)), datasets, axis=0)
        found = ranking(liking + rng.normal(0, 0.5, liking.shape), clusters=names)
        pairs = [pair.holm for pair in found.pairs]
        errors.append(found.p < 0.05 if methods > 2 else min(pairs) < 0.05)
    return CalibrationRow(f"{models} models × {datasets} datasets", datasets, methods, float(np.mean(errors)), np.nan)


def rows(studies: int, seed: int = 20260613) -> list[CalibrationRow]:
    """Every row of the table."""
    rng = np.random.default_rng(seed)
    within = [simulate(s, n, m, studies, rng) for s, n, m in product(SITUATIONS, SEEDS, METHODS)]
    shapes = ((3, 1), (4, 3), (6, 1), (8, 3))
    across = [simulate_blocks(a, b, m, studies // 5, rng) for (a, b), m in product(shapes, METHODS[:2])]
    return within + across


def markdown(table: list[CalibrationRow]) -> str:
    """The table; `!` where a sentence must not be said."""
    lines = ["| situation | seeds or datasets | methods | family-wise error | coverage of ± |", "|---|--:|--:|--:|--:|"]
    for r in table:
        error = f"{100 * r.error:.1f} %{' !' if r.error > 0.055 else ''}"
        covered = "" if np.isnan(r.covered) else f"{100 * r.covered:.1f} %{' !' if r.covered < 0.93 else ''}"
        lines.append(f"| {r.situation} | {r.seeds} | {r.methods} | {error} | {covered} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 studies a row instead of 10,000")
    print(markdown(rows(2_000 if parser.parse_args().quick else 10_000)))


if __name__ == "__main__":
    main()
