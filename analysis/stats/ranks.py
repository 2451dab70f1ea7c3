"""Ranks across blocks (model × dataset): mean ranks, Friedman, Iman–Davenport, pairwise Wilcoxon with Holm, cliques.

Demšar 2006 (JMLR 7) for the tests; Benavoli et al. 2016 (JMLR 17) for pairwise Wilcoxon instead of Nemenyi. Scores are
higher-better here: the caller turns round what is lower-better. Refuses holes: a block must have every method.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.paired import holm, pairs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Omnibus:
    """A test of "all methods rank alike". NaN where it cannot be computed."""

    statistic: float
    p: float
    df: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """One pairwise comparison: indices of the methods, Wilcoxon p raw and Holm-adjusted, blocks won, lost and tied by
    `a`.
    """

    a: int
    b: int
    p: float
    holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Ranking:
    """All of it; `ranks` (n_methods,) mean ranks, 1 is best; `cliques` groups that the pairwise tests cannot tell
    apart.
    """

    ranks: Floats
    friedman: Omnibus
    iman_davenport: Omnibus
    pairs: tuple[Pair, ...]
    cliques: tuple[tuple[int, ...], ...]
    n: int


def ranking(scores: ArrayLike, alpha: float = 0.05) -> Ranking:
    """Everything at once, for scores (n_blocks, n_methods), higher better, no holes."""
    x = np.asarray(scores, float)
    if x.ndim != 2 or np.isnan(x).any():
        raise ValueError("ranking: scores must be (blocks, methods) without holes; drop incomplete blocks and say so")
    ranks = stats.rankdata(-x, axis=1).mean(axis=0) if len(x) else np.full(x.shape[1], np.nan)
    chi = friedman(x)
    found = pairwise(x)
    return Ranking(ranks, chi, iman_davenport(chi, *x.shape), found, cliques(ranks, found, alpha), len(x))


def friedman(x: Floats) -> Omnibus:
    """Friedman's chi-squared with the correction for ties; needs three methods and two blocks."""
    blocks, methods = x.shape
    if methods < 3 or blocks < 2 or (x == x[:, :1]).all():
        return Omnibus(np.nan, np.nan, (methods - 1,))
    found = stats.friedmanchisquare(*x.T)
    return Omnibus(float(found.statistic), float(found.pvalue), (methods - 1,))


def iman_davenport(chi: Omnibus, blocks: int, methods: int) -> Omnibus:
    """F = (N-1)χ² / (N(k-1) - χ²) with k-1 and (k-1)(N-1) degrees of freedom (Iman and Davenport 1980)."""
    df = (methods - 1, (methods - 1) * (blocks - 1))
    room = blocks * (methods - 1) - chi.statistic
    if np.isnan(chi.statistic) or room <= 1e-9:  # perfect agreement: F has no finite value
        return Omnibus(np.nan, np.nan if np.isnan(chi.statistic) else 0.0, df)
    f = (blocks - 1) * chi.statistic / room
    return Omnibus(float(f), float(stats.f.sf(f, *df)), df)


def pairwise(x: Floats) -> tuple[Pair, ...]:
    """Two-sided Wilcoxon signed-rank test of every pair over blocks, with Holm over all pairs; wins counted on the
    blocks.
    """
    which = pairs(x.shape[1])
    raw = np.array([wilcoxon_p(x[:, i] - x[:, j]) for i, j in which])
    adjusted = holm(raw)
    return tuple(
        Pair(
            int(i),
            int(j),
            float(p),
            float(h),
            int((x[:, i] > x[:, j]).sum()),
            int((x[:, i] < x[:, j]).sum()),
            int((x[:, i] == x[:, j]).sum()),
        )
        for (i, j), p, h in zip(which, raw, adjusted, strict=True)
    )


def wilcoxon_p(differences: Floats) -> float:
    """scipy's two-sided p, exact where scipy is exact; 1 where all differences are zero, NaN without any."""
    if differences.size == 0:
        return np.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def cliques(ranks: Floats, found: tuple[Pair, ...], alpha: float) -> tuple[tuple[int, ...], ...]:
    """Maximal groups of two or more methods of which no pair differs (Holm-adjusted p >= alpha), each by rank, best
    first.
    """
    alike: dict[int, set[int]] = {i: set() for i in range(len(ranks))}
    for pair in found:
        if not pair.holm < alpha:
            alike[pair.a].add(pair.b)
            alike[pair.b].add(pair.a)
    groups = [g for g in _maximal(set(), set(alike), set(), alike) if len(g) > 1]
    ordered = [tuple(sorted(g, key=lambda i: (ranks[i], i))) for g in groups]
    return tuple(sorted(ordered, key=lambda g: (ranks[g[0]], ranks[g[-1]], g)))


def _maximal(chosen: set[int], open_: set[int], closed: set[int], alike: dict[int, set[int]]) -> list[set[int]]:
    """Bron and Kerbosch 1973, with a pivot."""
    if not open_ and not closed:
        return [chosen]
    pivot = max(open_ | closed, key=lambda v: len(alike[v] & open_))
    groups = []
    for v in sorted(open_ - alike[pivot]):
        groups += _maximal(chosen | {v}, open_ & alike[v], closed & alike[v], alike)
        open_, closed = open_ - {v}, closed | {v}
    return groups
