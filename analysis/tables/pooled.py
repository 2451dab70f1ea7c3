"""Over all blocks: mean rank, interquartile mean of normalised scores, probability of improvement over the control.

Only blocks that every method completed with one set of seeds enter; how many were left out is said under the table.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.compare import Comparison, compare
from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.intervals import t_interval
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
    compared = compare(long.assign(model="", metric="score"), f"sweep {frame.name}")

    def plain(name: str) -> str:
        return name.removeprefix(" / ").removesuffix(" / score")

    dropped = {plain(name): lost for name, lost in compared.dropped.items()}
    blocks = tuple(map(plain, compared.blocks))
    clusters, over = _clusters(frame, blocks)
    return replace(
        compared, blocks=blocks, dropped=dropped, ranking=ranking(compared.scores, clusters=clusters, over=over)
    )


def _clusters(frame: Frame, blocks: tuple[str, ...]) -> tuple[list[str], str]:
    """What each block is a draw of: its model where there are several, else its dataset."""
    first = [frame.block(block).iloc[0] for block in blocks]
    models = [str(row["model"]) for row in first]
    return (models, "models") if len(set(models)) > 1 else ([str(row["dataset"]) for row in first], "datasets")


@dataclass(frozen=True)
class Whole:
    """The blocks that every method completed with one set of seeds: raw scores (n_seeds, n_blocks, n_methods), turned
    so that higher is better, `chance` (n_blocks,), and which blocks can be normalised: the control is above chance.
    """

    scores: NDArray[np.float64]
    blocks: tuple[str, ...]
    chance: NDArray[np.float64]
    above: NDArray[np.bool_]


def whole_blocks(frame: Frame) -> Whole:
    """Blocks with a hole, or with other seeds than the first whole one, are left out."""
    parts, used, chance, above = [], [], [], []
    for block in frame.blocks:
        values = frame.values(block, "score").reindex(columns=list(frame.methods))
        if values.empty or values.isna().any(axis=None) or (parts and len(values) != len(parts[0])):
            continue
        card = frame.block(block).iloc[0]
        low = float(card["chance"]) if pd.notna(card["chance"]) else 0.0
        lower_is_better = card["direction"] == "min"
        parts.append(1 / values.to_numpy(float) if lower_is_better else values.to_numpy(float))
        used.append(block)
        chance.append(0.0 if lower_is_better else low)
        above.append(frame.control in values and t_interval(parts[-1][:, _place(frame)], 0.9).low > chance[-1])
    scores = np.stack(parts, axis=1) if parts else np.empty((0, 0, len(frame.methods)))
    return Whole(scores, tuple(used), np.array(chance), np.array(above, bool))


def normaliser(chance: NDArray[np.float64], control: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Maps (..., seeds, blocks, methods): 0 is chance, 1 the mean of the control over the same seeds."""

    def normalise(x: NDArray[np.float64]) -> NDArray[np.float64]:
        above = x - chance[:, None]
        return above / above[..., control].mean(axis=-2, keepdims=True)[..., None]

    return normalise


def _place(frame: Frame) -> int:
    return frame.methods.index(frame.control or "")


def pooled_table(frame: Frame, rng: np.random.Generator | None = None) -> Table | None:
    """Method × (mean rank, IQM, probability of improvement); None when no two blocks are whole with three seeds."""
    rng = rng or np.random.default_rng(SEED)
    whole, ranked = whole_blocks(frame), comparison(frame)
    if frame.control is None or len(whole.scores) < 3 or len(whole.blocks) < 2 or ranked is None:
        return None
    control, above = _place(frame), whole.above
    better = pooled_improvement(whole.scores, control)
    iqm = _iqm(whole, control, rng)
    ranks = dict(zip(ranked.methods, ranked.ranking.ranks, strict=True))
    rows = tuple(
        (
            Cell(m),
            Cell(number(ranks[m], 2), float(ranks[m])),
            _cell(iqm, i) if above.any() else Cell("–", mark="absent", why="the control is not above chance"),
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
    names = ("method", "mean_rank", "iqm", "iqm_low", "iqm_high", "p_better", "p_better_low", "p_better_high")
    columns = (frame.methods, [ranks[m] for m in frame.methods], iqm.value, iqm.low, iqm.high)
    data = pd.DataFrame(
        dict(zip(names, (*columns, better.value, better.low, better.high), strict=True)),
    )
    return Table("pooled", "Over all blocks", heads, rows, (*_notes(frame, whole), footer(frame, whole.blocks)), data)


def _iqm(whole: Whole, control: int, rng: np.random.Generator) -> Pooled:
    """Of the blocks that can be normalised; the control's own noise is in the intervals."""
    nothing = np.full(whole.scores.shape[-1], np.nan)
    if not whole.above.any():
        return Pooled(nothing, nothing, nothing)
    return pooled_iqm(whole.scores[:, whole.above], rng, normaliser(whole.chance[whole.above], control))


def _notes(frame: Frame, whole: Whole) -> tuple[str, ...]:
    n = len(whole.scores)
    low = [b for b, above in zip(whole.blocks, whole.above, strict=True) if not above]
    left = f" Not normalised, for {frame.control} is not above chance there: {', '.join(low)}." if low else ""
    return (
        f"Over {len(whole.blocks)} of {len(frame.blocks)} blocks (whole, equal seeds), {n} seeds each. Interquartile "
        f"mean: 0 is chance, 1 the mean of {frame.control} over the same draw [95 % stratified bootstrap, seeds drawn "
        f"within blocks].{left}",
        f"P(better): a run of the method beats one of {frame.control} on the block's own score, ties half [score "
        "interval, 95 %]. Both speak of seeds, on these blocks.",
    )


def _cell(pooled: Pooled, i: int) -> Cell:
    return Cell(
        f"{number(pooled.value[i], 3)} [{number(pooled.low[i], 3)}, {number(pooled.high[i], 3)}]",
        float(pooled.value[i]),
    )
