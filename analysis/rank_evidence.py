"""How well a recommendation predicted the best rank: the sweep rank_recommend, on seeds that no recommendation saw.

A recommendation lies beside the run that it was made from (side records of kind `rank_advice`). Its one rank is the
median over weights. The best rank is the smallest whose mean score on the held seeds is within one standard error of
the highest mean.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.load import load
from harness.ledger.errors import PlanError
from harness.ledger.paths import RunPaths
from harness.ledger.side_record import read_all

SWEEP, KIND, VERSION = "rank_recommend", "rank_advice", 1
NONE = (
    "No evidence: this store has no sweep=rank_recommend with recommendations, so nobody knows how good this is. "
    "peftlab sweep sweep=rank_recommend, then peftlab recommend-rank sweep=rank_recommend, make it."
)
_COLUMNS = ["block", "source", "recommended", "best", "doublings", "lost", "energy", "n"]


def evidence(runs: Path) -> pd.DataFrame:
    """block, source, recommended, best, doublings (log2 of their ratio), lost (points at the nearest rank that was run
    less than at the best), energy, n (held seeds); empty where the store has no such sweep."""
    try:
        frame = load(SWEEP, runs, partial=True, allow_mixed=True)
    except PlanError:
        return pd.DataFrame(columns=_COLUMNS)
    rows = [row for block in frame.blocks for row in _of_block(frame, block, runs)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _of_block(frame: Frame, block: str, runs: Path) -> list[tuple[Any, ...]]:
    finished = frame.block(block)
    finished = finished[finished["done"] & (finished["procedure"] == "direct")]
    sides = [(run, side) for run in finished.itertuples() for side in read_all(RunPaths(runs / run.id), KIND, VERSION)]
    held = finished[~finished["seed"].isin({run.seed for run, _ in sides})]
    scores = held.pivot_table(index="seed", columns="start_rank", values="shown").dropna()
    if not sides or len(scores) < 2:
        return []
    sign = 1 if frame.better(block) == "max" else -1
    best = best_rank(sign * scores)
    rows = []
    for _, side in sides:
        for source, rank in recommended(side.answer).items():
            nearest = min(scores.columns, key=lambda tried, rank=rank: abs(np.log2(tried / rank)))
            lost = sign * float((scores[best] - scores[nearest]).mean())
            energy = side.question["energy"]
            rows.append((block, source, rank, best, float(np.log2(rank / best)), lost, energy, len(scores)))
    return rows


def best_rank(scores: pd.DataFrame) -> float:
    """The smallest rank (a column) whose mean over rows is within one standard error of the highest mean."""
    means = scores.mean()
    top = means.idxmax()
    error = float(scores[top].std(ddof=1)) / np.sqrt(len(scores))
    return float(min(rank for rank in scores.columns if means[rank] >= means[top] - error))


def recommended(answer: Mapping[str, Any]) -> dict[str, float]:
    """Source -> the median over weights of the ranks it recommends."""
    ranks = pd.DataFrame([site["ranks"] for site in answer["sites"]])
    return {str(source): float(value) for source, value in ranks.median().items()}


def sentences(data: pd.DataFrame) -> list[str]:
    """A sentence for each source; one that says there is none where `data` is empty."""
    if data.empty:
        return [NONE]
    return [_sentence(str(source), rows) for source, rows in data.groupby("source", sort=False)]


def _sentence(source: str, rows: pd.DataFrame) -> str:
    blocks, worst = rows["block"].nunique(), rows["doublings"].abs().max()
    cases = f"{_count(len(rows), 'recommendation')} on {_count(blocks, 'pair')} of model and data set"
    few = "; too few to trust" if blocks < 5 else ""
    off = f"{rows['doublings'].abs().median():.1f} doublings (at most {worst:.1f})"
    lost = f"{rows['lost'].mean():.2f} points lost on average"
    return f"{source}: off the best rank by a median of {off}, {lost}; of {cases}, on held seeds{few}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def quoted(runs: Path) -> list[str]:
    """The evidence of a store in sentences, for the verb that gives the advice."""
    return sentences(evidence(runs))
