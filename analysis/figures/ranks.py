"""The critical-difference diagram: mean ranks on a line, a bar over methods that the pairwise tests cannot
tell apart.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import Comparison
from analysis.figures.style import COLOURS, INK, Picture, short, styled


@styled
def rank_diagram(comparison: Comparison) -> Picture:
    """Demšar's diagram, with the groups of pairwise Wilcoxon tests under Holm instead of Nemenyi's one critical
    difference.

    A bar joins its members only (a dot each): a method under a bar without a dot differs from some of them.
    """
    ranks, names = comparison.ranking.ranks, comparison.methods
    order = sorted(range(len(names)), key=lambda i: (ranks[i], names[i]))
    groups, half = (comparison.ranking.cliques if comparison.ranking.testable else ()), (len(order) + 1) // 2
    top = 0.55 + 0.28 * len(groups)
    depth = 0.62 + 0.42 * half
    heading = 0.54 if comparison.ranking.testable else 0.72  # inches: one line, or two
    figure = Figure(figsize=(7.2, 0.36 + heading + 0.36 * (top + depth)), layout="constrained")
    axis = figure.subplots()
    k = len(order)
    for level, group in enumerate(groups):
        y = 0.45 + 0.28 * (len(groups) - 1 - level)
        axis.plot(
            [ranks[group[0]], ranks[group[-1]]], [y, y], color=COLOURS[level % 8], linewidth=2.6, solid_capstyle="round"
        )
        axis.plot([ranks[i] for i in group], [y] * len(group), "o", color=COLOURS[level % 8], markersize=4.5)
    for place, i in enumerate(order):
        _label(axis, place, float(ranks[i]), names[i], k, half)
    _scale(axis, k, top, depth)
    _title(axis, comparison)
    data = pd.DataFrame({"method": [names[i] for i in order], "mean_rank": [float(ranks[i]) for i in order]})
    return Picture("ranks", "Mean ranks and groups that cannot be told apart", _alt(comparison, order), figure, data)


def _label(axis: Axes, place: int, rank: float, name: str, k: int, half: int) -> None:
    """Best half on the left, best on top; the other half on the right, worst on top, so that lines never cross."""
    left = place < half
    y = -0.62 - 0.42 * (place if left else k - 1 - place)
    x = 1 - 0.06 * k if left else k + 0.06 * k
    axis.plot([rank, rank, x], [0, y, y], color=INK, linewidth=0.8)
    text = f"{short(name)}  {rank:.2f}" if left else f"{rank:.2f}  {short(name)}"
    axis.annotate(
        text,
        (x, y),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        va="center",
        ha="right" if left else "left",
    )


def _scale(axis: Axes, k: int, top: float, depth: float) -> None:
    axis.plot([1, k], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, k + 1):
        axis.plot([rank, rank], [0, 0.08], color=INK, linewidth=1.0)
        axis.annotate(
            str(rank), (rank, 0.08), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=8
        )
    axis.set_xlim(1 - 0.45 * k, k + 0.45 * k)
    axis.set_ylim(-depth - 0.2, top)
    axis.set_axis_off()


def _title(axis: Axes, comparison: Comparison) -> None:
    rank = comparison.ranking
    p = "not testable" if rank.p != rank.p else "p < .001" if rank.p < 0.001 else f"p = {rank.p:.3f}"
    few = (
        "" if rank.testable else f"\n{rank.clusters} {rank.over} are too few to tell pairs apart ({rank.needed} needed)"
    )
    axis.set_title(f"Mean rank over {rank.n} blocks (1 is best); Friedman, relabelled, {p}{few}", fontsize=9.5)


def _alt(comparison: Comparison, order: list[int]) -> str:
    rank = comparison.ranking
    ranked = ", ".join(f"{comparison.methods[i]} {rank.ranks[i]:.2f}" for i in order)
    groups = "; ".join(", ".join(comparison.methods[i] for i in g) for g in rank.cliques) or "none"
    verdict = f"Groups that cannot be told apart: {groups}." if rank.testable else "Too few blocks to tell pairs apart."
    return f"Critical difference diagram over {rank.n} blocks. Mean ranks: {ranked}. {verdict}"
