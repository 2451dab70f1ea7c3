"""Numbers as the fractions that they are: an accuracy is k of n, a printed value a decimal.

In floats 681/1014 may differ from itself by the order of a sum, and such a difference breaks ties.
"""

from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_DENOMINATOR = 1_000_000  # fractions below it are 1e-12 apart, a thousand times what rounding does to shares


@lru_cache(maxsize=100_000)  # one score is in many tables
def rational(value: float) -> Fraction:
    """The fraction with a denominator up to a million that `value` is a rounding of, else exactly the float."""
    near = Fraction(value).limit_denominator(_DENOMINATOR)
    return near if abs(float(near) - value) <= 8 * np.spacing(abs(value) or 1.0) else Fraction(value)


def rationals(values: ArrayLike) -> NDArray[np.object_]:
    """Each value as its fraction, in the shape of `values`; raises ValueError for NaN."""
    x = np.asarray(values, float)
    if np.isnan(x).any():
        raise ValueError("rationals: NaN is no number; leave holes out")
    return np.array([rational(float(v)) for v in x.ravel()] + [None], dtype=object)[:-1].reshape(x.shape)


def differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """a - b, each rounded once: equal differences of fractions are equal floats."""
    return (rationals(a) - rationals(b)).astype(float)


def mean(values: ArrayLike) -> Floats:
    """Mean over the first axis, rounded once: equal sums of fractions are equal floats."""
    x = rationals(values)
    return np.asarray(x.sum(axis=0) / Fraction(len(x)), dtype=object).astype(float)


def lattice(values: ArrayLike) -> Floats:
    """`values` times the smallest number that makes all of them integers, so that sums of them are exact in floats.

    Values that share no such number below a billion (times) are returned as they are: they do not tie.
    """
    x = np.asarray(values, float)
    common = 1
    for value in np.unique(x):
        common = lcm(common, rational(float(value)).denominator)
        if common > 1_000_000_000:
            return x
    whole = np.rint(x * common)
    return whole if np.abs(whole).max(initial=0) < 2**45 else x
