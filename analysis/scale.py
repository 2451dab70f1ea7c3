"""What a column's values can be: where their scale ends, and how fine it is.

An accuracy over n test examples is in steps of 1/n between 0 and 1; seconds and bytes are never negative.
"""

from dataclasses import dataclass
from math import inf

import pandas as pd

from analysis.columns import column
from analysis.metric import shown

_NEVER_NEGATIVE = {"s", "ms", "bytes", "count", "1/s", "share", "FLOP"}


@dataclass(frozen=True)
class Scale:
    """`step` is 0 where the resolution is not known or needs no mention."""

    low: float = -inf
    high: float = inf
    step: float = 0.0


def scale_of(rows: pd.DataFrame, name: str) -> Scale:
    """The scale of column `name` (`shown`: the score as printed) in one block's rows."""
    if rows.empty or name != "shown":
        return Scale(0.0) if name == "gap_abs" or (name != "shown" and _unit(name) in _NEVER_NEGATIVE) else Scale()
    units = rows["score_unit"].dropna()
    metric = shown(str(rows.iloc[0]["metric"]), next((str(u) for u in units if u), ""))
    if not metric.in_points:
        return Scale()
    examples = rows["score_n"].min() if "score_n" in rows else 0
    return Scale(0.0 if metric.unit == "%" else -100.0, 100.0, 100.0 / examples if examples > 0 else 0.0)


def _unit(name: str) -> str:
    return column(name).unit
