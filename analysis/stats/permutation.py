"""Exact tests by relabelling, a cluster at a time: blocks that share a model move together and are relabelled together.

Under "methods do not differ" a cluster's methods may change names; nothing else is assumed (Fisher 1935).
"""

from collections.abc import Sequence
from itertools import permutations
from math import ceil, factorial, log2

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
_EXACT = 50_000  # relabellings that are all looked at; more are drawn
_DRAWS = 20_000


def sign_flip_p(differences: Floats, clusters: Sequence[object]) -> float:
    """Two-sided p of the signed-rank statistic (zeros left out, ties mid-ranked) when each cluster's sign is a coin.

    differences, clusters: (n_blocks,). Exact for any number of clusters, by counting the sums that signs can give.
    """
    here = differences != 0
    if not here.any():
        return 1.0 if differences.size else np.nan
    signed = np.sign(differences[here]) * np.rint(2 * stats.rankdata(np.abs(differences[here])))
    names = np.asarray([str(c) for c in clusters])[here]
    sums = np.abs([int(signed[names == name].sum()) for name in np.unique(names)])
    counts = np.ones(1)  # counts[i]: the share of sign choices whose sum is i - reach
    for step in sums:
        wider = np.zeros(counts.size + 2 * step)
        wider[: counts.size] += counts / 2
        wider[2 * step :] += counts / 2
        counts = wider
    reach = int(sums.sum())
    return float(counts[np.abs(np.arange(-reach, reach + 1)) >= abs(int(signed.sum()))].sum())


def relabelling_p(ranks: Floats, clusters: Sequence[object]) -> float:
    """p of Friedman's statistic when the names of the methods are permuted within each cluster.

    ranks (n_blocks, n_methods). All relabellings where there are few, else 20,000 draws (the same ones every time).
    """
    names = [str(c) for c in clusters]
    sums = np.stack([ranks[[n == name for n in names]].sum(axis=0) for name in dict.fromkeys(names)])
    count, methods = sums.shape
    observed = (sums.sum(axis=0) ** 2).sum() - 1e-9
    if factorial(methods) ** (count - 1) <= _EXACT:
        totals = sums[:1]  # the first cluster keeps its names: only who is who between clusters matters
        orders = np.array(list(permutations(range(methods))))
        for cluster in sums[1:]:
            totals = (totals[:, None, :] + cluster[orders][None]).reshape(-1, methods)
        if count == 1:
            return 1.0
        return float(((totals**2).sum(axis=1) >= observed).mean())
    rng = np.random.default_rng(20260613)
    totals = sum(rng.permuted(np.tile(cluster, (_DRAWS, 1)), axis=1) for cluster in sums)
    return float((1 + ((np.asarray(totals) ** 2).sum(axis=1) >= observed).sum()) / (1 + _DRAWS))


def clusters_needed(comparisons: int, alpha: float = 0.05) -> int:
    """The fewest clusters with which a sign-flip test can pass Holm's first step: 2^(1-C) <= alpha / comparisons."""
    return 1 + ceil(log2(max(1, comparisons) / alpha))
