"""What few seeds say: their range, which holds the median whatever their distribution, and Student's t of differences.

Refuses to bootstrap them: over 3–5 seeds a bootstrap covers 75–83 % (measuring.md, 7).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval or range; `low` and `high` are NaN where there is none: below three values, without
    spread.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def known(self) -> bool:
        """True where there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def within(self, low: float, high: float) -> "Estimate":
        """The same, cut to a scale that ends at `low` and `high`: the truth never lies beyond."""
        return Estimate(self.mean, max(self.low, low), min(self.high, high), self.n) if self.known else self


def seed_range(values: ArrayLike) -> Estimate:
    """Mean of `values` (n,), and the lowest and the highest of them; two values have no range (S1: no claim below
    three). NaN values must be taken out before.

    No interval of the mean is made of one method's seeds: a seed of ten that collapses shows in none of three seeds in
    73 % of studies, and no interval of theirs can hold a mean that it moved.
    """
    x = np.asarray(values, float)
    if not np.isfinite(x).all():
        raise ValueError("seed_range: a value that is not finite; leave failed runs out and count them")
    if x.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = (float(x.min()), float(x.max())) if x.size >= 3 else (np.nan, np.nan)
    return Estimate(float(x.mean()), low, high, int(x.size))


def range_level(n: int) -> float:
    """How probable it is that the range of n >= 1 values holds the median of what they are drawn from, at least and
    for any distribution: all n are above it or all are below in 2 · 2^-n of cases (Thompson 1936).
    """
    return 1 - 2.0 ** (1 - n)


def spread(values: ArrayLike, step: float = 0.0) -> float:
    """Sample SD (ddof = 1) of `values` (n >= 2,), never below half of `step`, the resolution they are read with; 0
    where they differ by rounding only and no step is known.

    A score whose true value is midway between two steps varies by half a step, however alike a few readings are.
    """
    x = np.asarray(values, float)
    if np.ptp(x) <= 1e-12 * float(np.abs(x).max()):
        return step / 2
    return max(float(x.std(ddof=1)), step / 2)


def t_interval(values: ArrayLike, level: float = 0.95, step: float = 0.0) -> Estimate:
    """Student's t interval of the mean of `values` (n,), with the SD of `spread`.

    Two values have none (S1: no claim below three), and neither have equal ones of unknown resolution. NaN values must
    be taken out before.
    """
    x = np.asarray(values, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("t_interval: a value that is not finite; leave failed runs out and count them")
    if x.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean, sd = float(x.mean()), spread(x, step) if x.size >= 3 else 0.0
    if sd == 0:
        return Estimate(mean, np.nan, np.nan, int(x.size))
    half = t_quantile((1 + level) / 2, x.size - 1) * sd / float(np.sqrt(x.size))
    return Estimate(mean, mean - half, mean + half, int(x.size))


@cache
def t_quantile(share: float, df: int) -> float:
    """Student's t quantile; kept, because a sweep asks for the same few thousands of times."""
    return float(stats.t.ppf(share, df))


def log_ratio_interval(values: ArrayLike, base: ArrayLike, level: float = 0.95) -> Estimate:
    """Ratio of paired costs (n,), as the exponential of the t interval of log(values / base): ratios multiply, they do
    not add.
    """
    ratio = t_interval(np.log(np.asarray(values, float) / np.asarray(base, float)), level)
    return Estimate(float(np.exp(ratio.mean)), float(np.exp(ratio.low)), float(np.exp(ratio.high)), ratio.n)
