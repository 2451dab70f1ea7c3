"""Over all blocks: mean rank, interquartile mean of normalised scores, probability of improvement over the control.

Only blocks that every method completed with one set of seeds enter; how many were left out is said under the table.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.compare import Comparison, compare
from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.pooled import Pooled, pooled_improvement, pooled_iqm
from analysis.stats.ranks import ranking
from analysis.table import Cell, Head, Table
from analysis.tables.cells import SEED, footer
from analysis.tables.coverage import means_of_blocks


def comparison(frame: Frame) -> Comparison | None:
    """Ranks and pairwise tests over the blocks that every method completed; None with fewer than two such blocks or
    methods.
    """
    means = means_of_blocks(frame)
    if len(means.dropna()) < 2 or means.shape[1] < 2:
        return None
    long = means.rename_axis("dataset").reset_index().melt("dataset", var_name="method", value_name="value")
    found = compare(long.assign(model="", metric="score"), f"sweep {frame.name}")

    def plain(name: str) -> str:
        return name.removeprefix(" / ").removesuffix(" / score")

    dropped = {plain(name): lost for name, lost in found.dropped.items()}
    blocks = tuple(map(plain, found.blocks))
    clusters, over = _clusters(frame, blocks)
    return replace(found, blocks=blocks, dropped=dropped, ranking=ranking(found.scores, clusters=clusters, over=over))


def _clusters(frame: Frame, blocks: tuple[str, ...]) -> tuple[list[str], str]:
    """What each block is a draw of: its model where there are several, else its dataset."""
    first = [frame.block(block).iloc[0] for block in blocks]
    models = [str(row["model"]) for row in first]
    return (models, "models") if len(set(models)) > 1 else ([str(row["dataset"]) for row in first], "datasets")


def normalised(frame: Frame) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """((n_seeds, n_blocks, n_methods), blocks used): 1 is the control's mean, 0 is chance.

    (score - chance) / (control - chance) where the card names chance; else score / control, turned round where lower is
    better. Blocks with a hole, or with other seeds than the first whole one, are left out.
    """
    parts, used = [], []
    for block in frame.blocks:
        values = frame.values(block, "score").reindex(columns=list(frame.methods))
        if values.empty or values.isna().any(axis=None) or (parts and len(values) != len(parts[0])):
            continue
        parts.append(_normalise(values, frame.control, frame.block(block).iloc[0]))
        used.append(block)
    return (np.stack(parts, axis=1) if parts else np.empty((0, 0, len(frame.methods)))), tuple(used)


def _normalise(values: pd.DataFrame, control: str | None, card: pd.Series) -> NDArray[np.float64]:
    base = float(values[control].mean()) if control in values else float(values.to_numpy().mean())
    if card["direction"] == "min":
        return base / values.to_numpy(float)
    chance = float(card["chance"]) if pd.notna(card["chance"]) else 0.0
    return (values.to_numpy(float) - chance) / (base - chance)


def pooled_table(frame: Frame, rng: np.random.Generator | None = None) -> Table | None:
    """Method × (mean rank, IQM, probability of improvement); None when no two blocks are whole with three seeds."""
    rng = rng or np.random.default_rng(SEED)
    scores, used = normalised(frame)
    found = comparison(frame)
    if frame.control is None or scores.shape[0] < 3 or scores.shape[1] < 2 or found is None:
        return None
    iqm = pooled_iqm(scores, rng)
    better = pooled_improvement(scores, frame.methods.index(frame.control), rng)
    ranks = dict(zip(found.methods, found.ranking.ranks, strict=True))
    rows = tuple(
        (
            Cell(m),
            Cell(number(ranks[m], 2), float(ranks[m])),
            _cell(iqm, i),
            _cell(better, i) if m != frame.control else Cell("–"),
        )
        for i, m in enumerate(frame.methods)
    )
    heads = (
        Head("method"),
        Head("mean rank", "", "min"),
        Head("interquartile mean", f"{frame.control} = 1", "max"),
        Head(f"P(better than {frame.control})", "", "max"),
    )
    notes = (
        f"Over {len(used)} of {len(frame.blocks)} blocks (whole, equal seeds), {scores.shape[0]} "
        "seeds each: 0 is chance, 1 the mean of "
        f"{frame.control}. [95 % stratified bootstrap intervals, seeds drawn within blocks; of "
        "three seeds in fewer than ten blocks they are a little narrow.]",
        footer(frame, used),
    )
    data = pd.DataFrame(
        {
            "method": frame.methods,
            "mean_rank": [ranks[m] for m in frame.methods],
            "iqm": iqm.value,
            "iqm_low": iqm.low,
            "iqm_high": iqm.high,
            "p_better": better.value,
            "p_better_low": better.low,
            "p_better_high": better.high,
        }
    )
    return Table("pooled", "Over all blocks", heads, rows, notes, data)


def _cell(found: Pooled, i: int) -> Cell:
    return Cell(
        f"{number(found.value[i], 3)} [{number(found.low[i], 3)}, {number(found.high[i], 3)}]", float(found.value[i])
    )
