"""Does the curvature at the start predict the best learning rate (https://arxiv.org/abs/2602.04998)?"""

import pandas as pd

from analysis.diagnoses import diagnoses
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.intervals import Estimate
from analysis.stats.rank_correlation import kendall, spearman
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer

LEAST = 3  # learning rates, and methods of a block
_NOTE = (
    "Best rate: of those tried, the one with the best validation score, mean over seeds; a rate that lost a seed is "
    "not chosen. λ_max: largest eigenvalue of the training loss's Hessian in the adapter's own parameters before the "
    "first step, mean over seeds. If it sets the rate, the best rate falls as it grows: a correlation near −1. Rates "
    "come from a grid, so that ties are many and intervals rough."
)


def lr_table(frame: Frame) -> Table | None:
    """A row for each method of a block that was tried with three learning rates; correlations are in the notes. None
    without such methods, or side records of the kind `start`.
    """
    points = lr_points(frame)
    if points.empty:
        return None
    rows = tuple(
        (
            Cell(row.block),
            Cell(row.method),
            Cell(f"{row.lr:g}{' *' if row.at_the_edge else ''}", row.lr),
            Cell(str(row.rates), row.rates),
            Cell(scientific(row.eigenvalue), row.eigenvalue),
            Cell(scientific(row.lr * row.eigenvalue), row.lr * row.eigenvalue),
        )
        for row in points.itertuples()
    )
    heads = (
        *(Head("model / dataset"), Head("method"), Head("best learning rate"), Head("rates tried")),
        *(Head("λ_max at the start"), Head("rate · λ_max")),
    )
    edge = ("*: at the edge of the grid, which may be too narrow.",) if points["at_the_edge"].any() else ()
    notes = (_NOTE, *_sentences(points), *edge, footer(frame))
    return Table("lr-curvature", "Best learning rate and curvature at the start", heads, rows, notes, points)


def lr_points(frame: Frame) -> pd.DataFrame:
    """block, method, lr (the best), rates (how many were tried), at_the_edge, eigenvalue."""
    starts = diagnoses(frame, "start")
    columns = ["block", "method", "lr", "rates", "at_the_edge", "eigenvalue"]
    if starts.empty:
        return pd.DataFrame(columns=columns)
    known = frame.rows.merge(starts[["id", "start_eigenvalue"]], on="id", how="left")
    found = []
    for (block, method), runs in known.groupby(["block", "method_name"], sort=False):
        tried = runs.groupby("lr").agg(score=("val_score", "mean"), whole=("done", "all"))
        whole, best = tried.loc[tried["whole"], "score"].dropna(), frame.better(str(block)) == "max"
        if len(tried) < LEAST or whole.empty or runs["start_eigenvalue"].isna().all():
            continue
        lr = float(whole.idxmax() if best else whole.idxmin())  # type: ignore[arg-type]
        at_the_edge = lr in (tried.index.min(), tried.index.max())
        found.append((block, method, lr, len(tried), at_the_edge, float(runs["start_eigenvalue"].mean())))
    return pd.DataFrame(found, columns=columns)


def _sentences(points: pd.DataFrame) -> list[str]:
    """The two correlations in each block of enough methods."""
    sentences = []
    for block, here in points.groupby("block", sort=False):
        if len(here) >= LEAST and here["lr"].nunique() > 1:
            rho, tau = (of(here["lr"], here["eigenvalue"]) for of in (spearman, kendall))
            sentences.append(f"{block}: Spearman's ρ {_text(rho)}, Kendall's τ {_text(tau)} over {rho.n} methods.")
    return sentences or ["No block has three methods with different best rates: no correlation."]


def _text(estimate: Estimate) -> str:
    span = f" [{estimate.low:.2f}, {estimate.high:.2f}]" if estimate.known else ""
    return f"{estimate.mean:.2f}{span}"
