"""Which times may be compared, and which differences in time the seeds support.

Times taken while other programs ran are no measurement of a method: records mark them; nothing is claimed from them.
"""

from itertools import permutations

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.stats.paired import pairwise_t

_MARKED = "contention.marked"  # 1 where a record says that its times may not be compared; older records do not say


def times_comparable(rows: pd.DataFrame) -> tuple[bool, str]:
    """(True, ""), or (False, why) where finished runs of `rows` are marked. Records that do not say are taken as they
    are.
    """
    done = rows[rows["done"]]
    marked = int((done[_MARKED] > 0).sum()) if _MARKED in done else 0
    if not marked:
        return True, ""
    return False, f"{marked} of {len(done)} runs shared their processor with other programs while training"


def quicker(frame: Frame, block: str, methods: list[str]) -> pd.DataFrame:
    """(methods, methods) booleans: the row trains in less time than the column in a paired t test of log seconds over
    common seeds (Holm over all pairs of `methods`, p < .05).
    """
    times = np.log(frame.values(block, "train_s")[methods].where(lambda t: t > 0)).to_numpy()
    p, table = pairwise_t(times), pd.DataFrame(False, index=methods, columns=methods)
    for a, b in permutations(range(len(methods)), 2):
        table.iloc[a, b] = bool(p[a, b] < 0.05 and np.nanmean(times[:, a] - times[:, b]) < 0)
    return table


def quickest_of(frame: Frame, block: str, methods: list[str]) -> tuple[str | None, str]:
    """(the method that is quicker than each of the others, "") or (None, why none is): needs two methods, times that
    may be compared, and a paired test over seeds.
    """
    runs = pd.concat([frame.cell(block, m) for m in methods])
    comparable, why = times_comparable(runs)
    if not comparable:
        return None, f"times are not comparable ({why})"
    table = quicker(frame, block, methods)
    first = [m for m in methods if table.loc[m].sum() == len(methods) - 1]
    return (first[0], "") if first and len(methods) > 1 else (None, "the seeds do not support a difference in time")
