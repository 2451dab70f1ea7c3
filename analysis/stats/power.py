"""What a number of seeds can and cannot show."""

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, stats

from analysis.metric import Shown, number
from analysis.stats.intervals import spread


def detectable(sd: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest mean difference that a two-sided paired t test with n pairs finds with that power.

    sd: sample SD of the paired differences, in the metric's unit. Exact, by the noncentral t. n >= 2.
    """
    if n < 2:
        raise ValueError(f"detectable: {n} pairs have no spread; at least 2 are needed")
    return sd * _detectable_in_sds(n, power, alpha)


@cache
def _detectable_in_sds(n: int, power: float, alpha: float) -> float:
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))

    def missing(effect: float) -> float:
        shift = effect * np.sqrt(n)
        far_tail = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))  # scipy underflows to NaN where it is zero
        return float(stats.nct.sf(critical, n - 1, shift) + far_tail) - power

    upper = 1.0
    while missing(upper) < 0:
        upper *= 2
    return float(optimize.brentq(missing, 0.0, upper, xtol=1e-10))  # type: ignore[arg-type]


def detectable_note(values: pd.DataFrame, control: str | None, metric: Shown, step: float = 0.0) -> tuple[str, ...]:
    """The sentence under a table; values: (seeds, methods), `step` their resolution. Empty where no method has three
    seeds in common with the control.

    The test is the first step of Holm over all comparisons with the control: the power is that of this test.
    """
    if control not in values:
        return ()
    differences = [d for m in values if m != control and len(d := (values[m] - values[control]).dropna()) >= 3]
    if not differences:
        return ()
    n, family = int(np.median([len(d) for d in differences])), len(differences)
    sd = float(np.median([spread(d, step) for d in differences]))
    least = number(detectable(sd, n, alpha=0.05 / family), metric.digits)
    unit = " points" if metric.in_points else ""
    holm = f", first step of Holm over {family} comparisons" if family > 1 else ""
    sentence = (
        f"With {n} seeds, a difference to {control} below {least}{unit} is not likely to be found (80 % power, paired "
        f"t, p < .05{holm}; median SD of the differences {number(sd, metric.digits)})."
    )
    return (sentence,) if sd > 0 else ()


def expected_best(trials: ArrayLike, k: int) -> float:
    """Expected best validation score of k trials drawn without replacement from `trials` (n,), higher better (Dodge et
    al. 2019, unbiased form).

    E[max of k] = sum over sorted x_(i) of x_(i) · C(i-1, k-1) / C(n, k).
    """
    x = np.sort(np.asarray(trials, float))
    n = len(x)
    if not 1 <= k <= n:
        raise ValueError(f"expected_best: k = {k} of {n} trials")
    weight = np.zeros(n)
    weight[k - 1] = 1.0  # C(i-1, k-1) by its recurrence, scaled, so that large n does not overflow
    for i in range(k, n):
        weight[i] = weight[i - 1] * i / (i - k + 1)
    return float(x @ (weight / weight.sum()))
