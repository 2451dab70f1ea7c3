"""Ranks across blocks (model × dataset): mean ranks, Friedman, Iman–Davenport, signed ranks with Holm, cliques.

Demšar 2006 (JMLR 7) for the tests; Benavoli et al. 2016 (JMLR 17) for pairwise Wilcoxon instead of Nemenyi. What
decides is exact and relabels whole clusters of blocks. Scores are higher-better here: the caller turns round what is
lower-better. Refuses holes: a block must have every method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats import exact
from analysis.stats.paired import holm, pairs
from analysis.stats.permutation import clusters_needed, relabelling_p, sign_flip_p

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Omnibus:
    """A test of "all methods rank alike". NaN where it cannot be computed."""

    statistic: float
    p: float
    df: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """One pairwise comparison: indices of the methods, exact Wilcoxon p over blocks, p with signs flipped by cluster,
    the latter Holm-adjusted over all pairs; blocks won, lost and tied by `a`.
    """

    a: int
    b: int
    p: float
    clustered: float
    holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Ranking:
    """All of it; `ranks` (n_methods,) mean ranks, 1 is best; `cliques` groups that the pairwise tests cannot tell
    apart. `p` is the relabelling p of Friedman's statistic. `n` blocks in `clusters` clusters, which are `over`
    (models, say); `needed` of them are the fewest with which some pair could be told apart.
    """

    ranks: Floats
    friedman: Omnibus
    iman_davenport: Omnibus
    p: float
    pairs: tuple[Pair, ...]
    cliques: tuple[tuple[int, ...], ...]
    n: int
    clusters: int
    needed: int
    over: str

    @property
    def testable(self) -> bool:
        """False where not even the clearest pair could be told apart."""
        return self.clusters >= self.needed


def ranking(
    scores: ArrayLike, alpha: float = 0.05, clusters: Sequence[object] | None = None, over: str = "blocks"
) -> Ranking:
    """Everything at once, for scores (n_blocks, n_methods), higher better, no holes.

    clusters (n_blocks,): blocks of one cluster (a model, say) are not independent. None: every block is its own.
    over: what the clusters are, in the plural.
    """
    x = np.asarray(scores, float)
    if x.ndim != 2 or np.isnan(x).any():
        raise ValueError("ranking: scores must be (blocks, methods) without holes; drop incomplete blocks and say so")
    x = exact.rationals(x).astype(float)
    names = list(range(len(x))) if clusters is None else list(clusters)
    by_block = stats.rankdata(-x, axis=1)
    ranks = by_block.mean(axis=0) if len(x) else np.full(x.shape[1], np.nan)
    chi, compared = friedman(x), pairwise(x, names)
    p = np.nan if np.isnan(chi.p) else relabelling_p(by_block, names)
    groups, needed = cliques(ranks, compared, alpha), clusters_needed(len(compared), alpha)
    distinct = len({str(c) for c in names})
    f = iman_davenport(chi, *x.shape)
    return Ranking(ranks, chi, f, p, compared, groups, len(x), distinct, needed, over)


def against(ranking: Ranking, control: int) -> dict[int, float]:
    """Method -> p against the control, Holm over these comparisons alone: a smaller family than all pairs."""
    mine = [pair for pair in ranking.pairs if control in (pair.a, pair.b)]
    adjusted = holm([pair.clustered for pair in mine])
    return {pair.b if pair.a == control else pair.a: float(p) for pair, p in zip(mine, adjusted, strict=True)}


def friedman(x: Floats) -> Omnibus:
    """Friedman's chi-squared with the correction for ties; needs three methods and two blocks."""
    blocks, methods = x.shape
    if methods < 3 or blocks < 2 or (x == x[:, :1]).all():
        return Omnibus(np.nan, np.nan, (methods - 1,))
    result = stats.friedmanchisquare(*x.T)
    return Omnibus(float(result.statistic), float(result.pvalue), (methods - 1,))


def iman_davenport(chi: Omnibus, blocks: int, methods: int) -> Omnibus:
    """F = (N-1)χ² / (N(k-1) - χ²) with k-1 and (k-1)(N-1) degrees of freedom (Iman and Davenport 1980)."""
    df = (methods - 1, (methods - 1) * (blocks - 1))
    room = blocks * (methods - 1) - chi.statistic
    if np.isnan(chi.statistic) or room <= 1e-9:  # perfect agreement: F has no finite value
        return Omnibus(np.nan, np.nan if np.isnan(chi.statistic) else 0.0, df)
    f = (blocks - 1) * chi.statistic / room
    return Omnibus(float(f), float(stats.f.sf(f, *df)), df)


def pairwise(x: Floats, clusters: Sequence[object]) -> tuple[Pair, ...]:
    """Two-sided signed-rank tests of every pair over blocks, and by cluster with Holm over all pairs; wins counted on
    the blocks.
    """
    which = pairs(x.shape[1])
    apart = [exact.differences(x[:, i], x[:, j]) for i, j in which]
    raw = [wilcoxon_p(d) for d in apart]
    independent = len({str(c) for c in clusters}) == len(x)
    clustered = raw if independent else [sign_flip_p(d, clusters) for d in apart]
    rows = zip(which.tolist(), apart, raw, clustered, holm(clustered), strict=True)
    return tuple(
        Pair(i, j, p, c, float(h), int((d > 0).sum()), int((d < 0).sum()), int((d == 0).sum()))
        for (i, j), d, p, c, h in rows
    )


def wilcoxon_p(differences: Floats) -> float:
    """Exact two-sided Wilcoxon signed-rank p, with ties and zeros; 1 where all differences are zero, NaN without
    any.
    """
    return sign_flip_p(differences, range(len(differences)))


def cliques(ranks: Floats, pairs: tuple[Pair, ...], alpha: float) -> tuple[tuple[int, ...], ...]:
    """Maximal groups of two or more methods of which no pair differs (Holm-adjusted p >= alpha), each by rank, best
    first.
    """
    alike: dict[int, set[int]] = {i: set() for i in range(len(ranks))}
    for pair in pairs:
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
