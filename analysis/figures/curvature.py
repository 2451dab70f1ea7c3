"""The largest Hessian eigenvalue of each method, one panel per block."""

from matplotlib.ticker import NullFormatter

from analysis.figures.style import Picture, colour, marker, panels, short, styled, whiskers
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.intervals import Estimate
from analysis.tables.curvature import curvature_table


@styled
def curvature_points(frame: Frame) -> Picture | None:
    """Mean over seeds, the bar from the lowest to the highest seed, on a logarithmic scale. Without positive values, or
    without side records, None.
    """
    table = curvature_table(frame)
    if table is None:
        return None
    data = table.data[table.data["largest_eigenvalue"] > 0]
    blocks = [block for block in frame.blocks if block in set(data["block"])]
    if not blocks:
        return None
    figure, axes = panels(len(blocks), width=4.0, height=0.9 + 0.27 * int(data["block"].value_counts().max()))
    for axis, block in zip(axes, blocks, strict=True):
        here = data[data["block"] == block]
        for y, row in enumerate(here[::-1].itertuples()):
            lowest, highest = row.largest_eigenvalue_lowest, row.largest_eigenvalue_highest
            half = whiskers(Estimate(row.largest_eigenvalue, lowest, highest, row.n))
            tint, sign = colour(frame.methods, row.method), marker(frame.methods, row.method)
            axis.errorbar(row.largest_eigenvalue, y, xerr=half, color=tint, marker=sign, capsize=2.5)
        axis.set_yticks(range(len(here)), [short(method) for method in here["method"][::-1]])
        axis.set(title=short(block, 40), xlabel="largest eigenvalue λ_max", xscale="log", ylim=(-0.6, len(here) - 0.4))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(axis="y", visible=False)
    points = "; ".join(f"{r.block}, {r.method}: {scientific(r.largest_eigenvalue)}" for r in data.itertuples())
    alt = f"Largest Hessian eigenvalue of the training loss of each method. {points}."
    return Picture("curvature", "Largest Hessian eigenvalue of the training loss", alt, figure, data)
