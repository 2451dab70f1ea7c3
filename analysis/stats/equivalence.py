"""Is a method as good as the control, within a margin fixed beforehand? Never answered by "p > .05" (measuring.md,
S6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.stats.intervals import Estimate, t_interval
from analysis.stats.paired import holm

Verdict = Literal["yes", "no", "not enough runs"]


@dataclass(frozen=True)
class Competitive:
    """Method minus control (higher better), its 90 % interval, p values Holm-adjusted within the family, and the
    answer.
    """

    difference: Estimate
    p_not_worse: float
    p_worse: float
    p_equivalent: float
    verdict: Verdict


def one_sided(differences: ArrayLike, bound: float) -> float:
    """p of H0 "mean <= bound" against "mean > bound", one-sided t; differences (n_pairs,).

    NaN with fewer than three pairs.
    """
    d = np.asarray(differences, float)
    if d.size < 3:
        return np.nan
    spread = float(d.std(ddof=1)) / float(np.sqrt(d.size))
    gap = float(d.mean()) - bound
    if spread <= 1e-12 * max(1.0, abs(float(d.mean()))):
        return float(gap <= 0)
    return float(stats.t.sf(gap / spread, d.size - 1))


def tost(differences: ArrayLike, margin: float) -> float:
    """Two one-sided tests of |mean| < margin (Schuirmann 1987): the larger of the two p.

    NaN with fewer than three pairs.
    """
    d = np.asarray(differences, float)
    return float(np.maximum(one_sided(d, -margin), one_sided(-d, -margin)))


def competitive(family: Sequence[ArrayLike], margin: float) -> tuple[Competitive, ...]:
    """Non-inferiority of each method of a declared family; one array of paired differences (higher better) per method.

    yes: not worse than the control by `margin` or more (p < .05); no: worse by more than `margin` (p < .05); otherwise
    there are not enough runs to say. Both p values are Holm-adjusted over the family. Raises ValueError for margin
    <= 0.
    """
    if not margin > 0:
        raise ValueError(f"competitive: the margin must be above 0, not {margin}")
    not_worse = holm([one_sided(d, -margin) for d in family])
    worse = holm([one_sided(-np.asarray(d, float), margin) for d in family])
    found = []
    for d, p_yes, p_no in zip(family, not_worse, worse, strict=True):
        verdict: Verdict = "yes" if p_yes < 0.05 else "no" if p_no < 0.05 else "not enough runs"
        found.append(Competitive(t_interval(d, 0.90), float(p_yes), float(p_no), tost(d, margin), verdict))
    return tuple(found)
