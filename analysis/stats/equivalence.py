"""Is a method as good as the control, within a margin fixed beforehand? Never answered by "p > .05" (measuring.md,
S6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.stats.intervals import Estimate, spread, t_interval
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


def one_sided(differences: ArrayLike, bound: float, step: float = 0.0) -> float:
    """p of H0 "mean <= bound" against "mean > bound", one-sided t; differences (n_pairs,), SD as in `intervals.spread`.

    Equal differences of unknown resolution have the p of the sign-flip test, 2^-n. NaN with fewer than three pairs.
    """
    d = np.asarray(differences, float)
    if d.size < 3:
        return np.nan
    gap, sd = float(d.mean()) - bound, spread(d, step)
    if sd == 0:
        return 2.0**-d.size if gap > 0 else 1.0
    return float(stats.t.sf(gap / (sd / np.sqrt(d.size)), d.size - 1))


def tost(differences: ArrayLike, margin: float, step: float = 0.0) -> float:
    """Two one-sided tests of |mean| < margin (Schuirmann 1987): the larger of the two p.

    NaN with fewer than three pairs.
    """
    d = np.asarray(differences, float)
    return float(np.maximum(one_sided(d, -margin, step), one_sided(-d, -margin, step)))


def competitive(family: Sequence[ArrayLike], margin: float, step: float = 0.0) -> tuple[Competitive, ...]:
    """Non-inferiority of each method of a declared family; one array of paired differences (higher better) per method.

    yes: not worse than the control by `margin` or more (p < .05); no: worse by more than `margin` (p < .05); otherwise
    there are not enough runs to say. All p are Holm-adjusted over the family. Raises ValueError for margin <= 0.
    """
    if not margin > 0:
        raise ValueError(f"competitive: the margin must be above 0, not {margin}")
    not_worse = holm([one_sided(d, -margin, step) for d in family])
    worse = holm([one_sided(-np.asarray(d, float), margin, step) for d in family])
    equivalent = holm([tost(d, margin, step) for d in family])
    answers = []
    for d, p_yes, p_no, p_both in zip(family, not_worse, worse, equivalent, strict=True):
        verdict: Verdict = "yes" if p_yes < 0.05 else "no" if p_no < 0.05 else "not enough runs"
        answers.append(Competitive(t_interval(d, 0.90, step), float(p_yes), float(p_no), float(p_both), verdict))
    return tuple(answers)
