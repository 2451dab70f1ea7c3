"""Rank strategies: what each scored at what price, and whether attention or the MLP ended with more rank."""

import pandas as pd

from analysis.frame import Frame
from analysis.learned_ranks import ATTENTION, COUNTED, MLP, learned_ranks
from analysis.search_cost import search_seconds
from analysis.stats.intervals import Estimate, t_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import RANGE_NOTE, footer, mean_cell, method_cell, range_text, score_cell

_ABSENT = Cell("–", mark="absent")
_SIDES = ["block", "label", "measure", "attention", "mlp", "difference", "low", "high", "n"]


def strategy_table(frame: Frame) -> Table | None:
    """Score, parameters, time, memory of a step, search cost and learned rank of each strategy, by block.

    None where no run learned its ranks. Search cost: training seconds of the run that a run starts from, and of all
    other trials of the `peftlab search` that chose its ranks.
    """
    ranks = learned_ranks(frame)
    if ranks.empty:
        return None
    means = ranks.groupby(["block", "label"])["rank"].mean()
    rows, data = [], []
    for block in frame.blocks:
        for method in frame.methods_of(block):
            runs, mean = frame.cell(block, method), means.get((block, method))
            search = _source_seconds(frame, runs) + _study_seconds(frame, runs)
            rows.append((
                Cell(block), method_cell(method), score_cell(runs, "shown", frame.shown(block).digits),
                mean_cell(runs, "adapter_params", 0), mean_cell(runs, "train_s", 1),
                mean_cell(runs, "saved_bytes", 1, 1e-6),
                Cell(f"{search:,.1f}", search), _ABSENT if mean is None else Cell(f"{mean:.2f}", float(mean)),
            ))  # fmt: skip
            data += [
                (block, method, run.seed, run.shown, run.adapter_params, run.train_s, run.saved_bytes)
                for run in runs.itertuples()
            ]
    heads = (
        Head("model / dataset"), Head("strategy"), Head("score"), Head("adapter parameters", "", "min"),
        Head("train", "s", "min"), Head("saved for backward", "MB", "min"), Head("search before it", "s", "min"),
        Head("learned rank"),
    )  # fmt: skip
    notes = (
        RANGE_NOTE,
        "Parameters are those at the end, components with a zero gate among them, which an export leaves out. Search "
        "before it: training of the source run, and of all other trials where peftlab search chose the ranks; a search "
        "within a run is in its own time. Learned rank: mean over weights and seeds; a stable rank where the method "
        "cuts no component.",
        footer(frame),
    )
    names = ["block", "strategy", "seed", "score", "adapter_params", "train_s", "saved_bytes"]
    return Table("rank-strategies", "Rank strategies", heads, tuple(rows), notes, pd.DataFrame(data, columns=names))


def _source_seconds(frame: Frame, runs: pd.DataFrame) -> float:
    """Mean training seconds of the runs that these start from; 0 where they start from none."""
    before = frame.rows.loc[frame.rows["id"].isin(runs["source"]) & frame.rows["done"], "train_s"]
    return float(before.mean()) if len(before) else 0.0


def _study_seconds(frame: Frame, runs: pd.DataFrame) -> float:
    """Once for the cell: the ranks found on one seed serve the others too."""
    spent = search_seconds(frame)
    return sum(spent.get(str(run_id), 0.0) for run_id in runs["id"])


def sides(frame: Frame) -> pd.DataFrame:
    """block, label, measure, attention, mlp, difference (attention less MLP), low, high, n, by block and strategy.

    Each run is one value: the mean rank of its attention weights less that of its MLP's; the interval is Student's t
    over seeds, NaN below three.
    """
    ranks = learned_ranks(frame)
    rows = []
    for (block, label), runs in ranks.groupby(["block", "label"], sort=False):
        attention = runs[runs["target"].isin(ATTENTION)].groupby("seed")["rank"].mean()
        mlp = runs[runs["target"].isin(MLP)].groupby("seed")["rank"].mean()
        difference = (attention - mlp).dropna()
        if len(difference):
            mean = t_interval(difference.to_numpy(float))
            head = (block, label, runs["measure"].iloc[0])
            rows.append((*head, attention.mean(), mlp.mean(), mean.mean, mean.low, mean.high, mean.n))
    return pd.DataFrame(rows, columns=_SIDES)


def side_table(frame: Frame) -> Table | None:
    """Attention against MLP, by strategy; None where no run learned ranks of both."""
    data = sides(frame)
    if data.empty:
        return None
    rows = tuple(
        (
            Cell(str(row.block)), Cell(str(row.label)), Cell("rank" if row.measure == COUNTED else "stable rank"),
            Cell(f"{row.attention:.2f}", row.attention), Cell(f"{row.mlp:.2f}", row.mlp), _difference(row),
            Cell(more_rank(row.low, row.high)),
        )
        for row in data.itertuples()
    )  # fmt: skip
    names = ("model / dataset", "strategy", "measure", "attention", "MLP", "attention less MLP", "more rank")
    notes = (
        "Mean rank of a weight. The difference is paired within a run; its 95 % t interval is over seeds, and there is "
        "none below three. Not told apart: the interval holds zero.",
        footer(frame),
    )
    return Table("rank-sides", "Attention against MLP", tuple(map(Head, names)), rows, notes, data)


def more_rank(low: float, high: float) -> str:
    """What an interval of attention less MLP says."""
    if pd.isna(low):
        return "not enough runs"
    return "attention" if low > 0 else "MLP" if high < 0 else "not told apart"


def _difference(row) -> Cell:  # noqa: ANN001
    estimate = Estimate(row.difference, row.low, row.high, row.n)
    return Cell(f"{row.difference:+.2f}{range_text(estimate, lambda v: f'{v:+.2f}')} ({row.n})", row.difference)
