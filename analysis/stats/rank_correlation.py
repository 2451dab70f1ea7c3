"""Rank correlations of few points, with intervals by Fisher's z and the variances that are known for it.

Kendall's: 0.437 / (n - 4) (Fieller, Hartley and Pearson 1957). Spearman's: (1 + rho^2 / 2) / (n - 3) (Bonett and
Wright 2000). Both are for points without ties; with many of them they are a rough guide.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.stats.intervals import Estimate

Z = float(stats.norm.ppf(0.975))


def kendall(x: ArrayLike, y: ArrayLike) -> Estimate:
    """tau-b of (n,) and (n,), with its 95 % interval from five points on; NaN where one of them is constant."""
    n = len(np.asarray(x))
    return _around(float(stats.kendalltau(x, y).statistic), 0.437 / (n - 4) if n > 4 else np.nan, n)


def spearman(x: ArrayLike, y: ArrayLike) -> Estimate:
    """rho of (n,) and (n,), with its 95 % interval from four points on; NaN where one of them is constant."""
    n, ranks = len(np.asarray(x)), [stats.rankdata(values) for values in (x, y)]
    if min(np.ptp(values) for values in ranks) == 0:
        return Estimate(np.nan, np.nan, np.nan, n)
    rho = float(np.corrcoef(*ranks)[0, 1])
    return _around(rho, (1 + rho**2 / 2) / (n - 3) if n > 3 else np.nan, n)


def _around(value: float, variance: float, n: int) -> Estimate:
    if not np.isfinite(value) or abs(value) >= 1 - 1e-12:  # at the end of the scale z is infinite
        return Estimate(value, np.nan, np.nan, n)
    z, half = np.arctanh(value), Z * np.sqrt(variance)
    return Estimate(value, float(np.tanh(z - half)), float(np.tanh(z + half)), n)
