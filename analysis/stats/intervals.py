"""Intervals of a mean over few seeds.

Refuses to bootstrap them: over 3–5 seeds a bootstrap covers 75–83 % (measuring.md, 7).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; `low` and `high` are NaN where n < 2 (one run has no spread)."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def t_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Student's t interval of the mean of `values` (n,), with the sample SD (ddof = 1).

    NaN values must be taken out before.
    """
    x = np.asarray(values, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("t_interval: a value that is not finite; leave failed runs out and count them")
    if x.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    if x.size == 1:
        return Estimate(float(x[0]), np.nan, np.nan, 1)
    half = t_quantile((1 + level) / 2, x.size - 1) * float(x.std(ddof=1)) / float(np.sqrt(x.size))
    return Estimate(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, int(x.size))


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
