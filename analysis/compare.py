"""Anybody's table of results, re-examined: mean ranks, Friedman, Iman–Davenport, every pairwise Wilcoxon with Holm,
wins.

Input is a table with the columns model, dataset, method, metric, value (and optionally direction: max or min), or a
wide one (analysis/table_file.py). A block is
one model × dataset × metric. Refuses a metric of unknown direction, a value that is no number, and a cell given twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.compared_table import averages, read_table
from analysis.metric import direction
from analysis.stats.differences import Spread, spread
from analysis.stats.ranks import Omnibus, Ranking, against, ranking
from analysis.table_file import read_rows
from harness.ledger.errors import RecordError, nearest

MIXED = (
    "Wilcoxon ranks the sizes of differences across blocks, and these blocks have metrics of different units ({}): "
    "read it beside the sign test, which does not."
)


@dataclass(frozen=True)
class Comparison:
    """The answer. `scores` (blocks, methods) are turned so that higher is better; `dropped` blocks had holes; `spreads`
    (blocks, methods) is what the table gives after ±, None where it does not give one for every score.
    """

    source: str
    methods: tuple[str, ...]
    blocks: tuple[str, ...]
    directions: dict[str, str]
    scores: NDArray[np.float64]
    ranking: Ranking
    dropped: dict[str, tuple[str, ...]]
    worst_imputed: dict[str, float]
    notes: tuple[str, ...]
    spreads: NDArray[np.float64] | None = None


def compare_csv(path: Path, better: str = "", metric: str = "") -> Comparison:
    """The comparison of a CSV file; raises RecordError with the line and the reason.

    `better`: max or min for metrics whose direction the table does not say; empty: by their names.
    """
    table = read_table(path, metric)
    given = table["direction"] if "direction" in table else pd.Series("", index=table.index)
    comparison = compare(table.assign(direction=given.where(given != "", better)), str(path))
    left_out = int(averages(read_rows(path, metric)).sum())
    note = f"{left_out} values named Average are left out: they are no block and no method of their own."
    return replace(comparison, notes=(*comparison.notes, note)) if left_out else comparison


def control_of(comparison: Comparison, name: str) -> str | None:
    """The method that the others are tested against; None for an empty name, RecordError for an unknown one."""
    if name and name not in comparison.methods:
        raise RecordError(f"{comparison.source}: no method '{name}'.{nearest(name, comparison.methods)}")
    return name or None


def compare(table: pd.DataFrame, source: str) -> Comparison:
    """Rank methods over the blocks that have all of them; blocks with holes are dropped, listed, and imputed once for
    sensitivity.
    """
    directions = _directions(table, source)
    methods = tuple(dict.fromkeys(table["method"]))
    block = table["model"] + " / " + table["dataset"] + " / " + table["metric"]
    turned = table["value"] * table["metric"].map({m: 1 if d == "max" else -1 for m, d in directions.items()})
    wide = table.assign(block=block, turned=turned).pivot(index="block", columns="method", values="turned")
    wide = wide.reindex(index=list(dict.fromkeys(block)), columns=list(methods))
    whole = wide.dropna()
    if len(methods) < 2 or whole.empty:
        raise RecordError(
            f"{source}: a comparison needs two methods and a block (model, dataset, metric) that has all of them; "
            f"there are {len(methods)} methods and {len(whole)} such blocks."
        )
    dropped = {str(name): tuple(row.index[row.isna()]) for name, row in wide.iterrows() if row.isna().any()}
    scores = whole.to_numpy(float)
    clusters, over = _clusters(table.assign(block=block), whole.index)
    metrics = sorted({str(name).rsplit(" / ", 1)[1] for name in whole.index})
    notes = (MIXED.format(", ".join(metrics)),) if len(metrics) > 1 else ()
    return Comparison(
        source,
        methods,
        tuple(map(str, whole.index)),
        directions,
        scores,
        ranking(scores, clusters=clusters, over=over),
        dropped,
        _imputed(wide) if dropped else {},
        notes,
        _spreads(table.assign(block=block), whole),
    )


def _clusters(table: pd.DataFrame, blocks: pd.Index) -> tuple[list[str], str]:
    """What each block is a draw of: its model where there are several, else its dataset."""
    first = table.drop_duplicates("block").set_index("block").loc[list(blocks)]
    several = first["model"].nunique() > 1
    return [str(name) for name in first["model" if several else "dataset"]], "models" if several else "datasets"


def _spreads(table: pd.DataFrame, whole: pd.DataFrame) -> NDArray[np.float64] | None:
    if "spread" not in table:
        return None
    wide = table.pivot(index="block", columns="method", values="spread").reindex_like(whole).to_numpy(float)
    return wide if np.isfinite(wide).all() and (wide > 0).all() else None


def as_json(comparison: Comparison, control: str | None = None) -> dict[str, Any]:
    """Strict JSON data: no NaN (null where a test cannot be computed). `control`: p of the others, Holm over them."""
    names, rank = comparison.methods, comparison.ranking
    best = comparison.scores == comparison.scores.max(axis=1, keepdims=True)
    common = len({name.rsplit(" / ", 1)[1] for name in comparison.blocks}) == 1  # else differences have no one unit
    pairs = [
        {
            "a": names[p.a],
            "b": names[p.b],
            "wilcoxon_p": _null(p.p),
            "sign_flip_p": _null(p.clustered),
            "holm_p": _null(p.holm),
            "sign_p": sign_p(p.wins, p.losses),
            "wins": p.wins,
            "losses": p.losses,
            "ties": p.ties,
            "different": bool(p.holm < 0.05),
            "differences": _difference(comparison, p.a, p.b) if common else None,
        }
        for p in rank.pairs
    ]
    tested = {} if control is None else against(rank, names.index(control))
    return {
        "table": comparison.source,
        "methods": list(names),
        "n_blocks": rank.n,
        "clusters": {"n": rank.clusters, "of": rank.over},
        "blocks": list(comparison.blocks),
        "directions": comparison.directions,
        "dropped_blocks": {name: list(lost) for name, lost in comparison.dropped.items()},
        "mean_ranks": {m: float(r) for m, r in zip(names, rank.ranks, strict=True)},
        "friedman": _omnibus(rank.friedman),
        "iman_davenport": _omnibus(rank.iman_davenport),
        "pairwise": pairs,
        "wins": {m: int(n) for m, n in zip(names, best.sum(axis=0), strict=True)},
        "cliques": [[names[i] for i in group] for group in rank.cliques],
        "mean_ranks_worst_imputed": comparison.worst_imputed,
        "against_control": {names[i]: _null(p) for i, p in tested.items()},
        "notes": list(comparison.notes),
    }


def _difference(comparison: Comparison, a: int, b: int) -> dict[str, Any]:
    """Of a less b over the blocks: see analysis.stats.differences.Spread."""
    difference = spread_of(comparison, a, b, comparison.blocks)
    return {name: _null(value) if isinstance(value, float) else value for name, value in vars(difference).items()}


def spread_of(comparison: Comparison, a: int, b: int, names: Sequence[str]) -> Spread:
    """Of a less b; blocks, called `names`, weigh by the precision of their two scores where the table gives it."""
    given = comparison.spreads
    weights = None if given is None else 1 / (given[:, a] ** 2 + given[:, b] ** 2)
    return spread(comparison.scores[:, a] - comparison.scores[:, b], names, weights)


def sign_p(wins: int, losses: int) -> float:
    """Exact two-sided sign test; ties are left out."""
    return 1.0 if wins + losses == 0 else float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def _directions(table: pd.DataFrame, source: str) -> dict[str, str]:
    if "direction" not in table:
        return {metric: direction(metric) for metric in dict.fromkeys(table["metric"])}
    directions: dict[str, str] = {}
    for metric, stated in dict.fromkeys(zip(table["metric"], table["direction"], strict=True)):
        if stated not in ("max", "min", ""):
            raise RecordError(
                f"{source}: direction '{stated}' of metric '{metric}' must be max or min (empty: by the metric's name)."
            )
        if directions.setdefault(metric, stated or direction(metric)) != (stated or direction(metric)):
            raise RecordError(f"{source}: metric '{metric}' has both directions; a metric has one.")
    return directions


def _imputed(wide: pd.DataFrame) -> dict[str, float]:
    """Mean ranks with every hole set to worse than the worst of its block: the other end of the sensitivity."""
    worst = wide.apply(lambda row: row.fillna(row.min() - 1.0), axis=1)
    ranks = stats.rankdata(-worst.to_numpy(float), axis=1).mean(axis=0)
    return {str(m): float(r) for m, r in zip(wide.columns, ranks, strict=True)}


def _omnibus(test: Omnibus) -> dict[str, Any]:
    return {"statistic": _null(test.statistic), "p": _null(test.p), "df": list(test.df)}


def _null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
