"""Variance kept by a compression against the score it costs: is a site's spectrum a warning?"""

import pandas as pd

from analysis.figures.style import Picture, colour, legend_below, marker, panels, styled
from analysis.frame import Frame
from analysis.metric import number
from analysis.scale import scale_of
from analysis.stats.intervals import t_interval
from analysis.variance_kept import variance_kept

_COLUMNS = ["block", "source_rank", "rank", "kept", "least", "lost", "low", "high", "n"]


@styled
def kept_against_lost(frame: Frame) -> Picture | None:
    """A point for each Post-Squeeze cell: the mean share of variance kept over sites and seeds, and by how much its
    score is below its source run's, with the 95 % t interval over seeds. None where there is no such cell."""
    data = kept_data(frame)
    if data.empty:
        return None
    blocks = tuple(dict.fromkeys(data["block"]))
    figure, (axis,) = panels(1, width=5.0, height=3.4)
    handles = []
    for block, points in data.groupby("block", sort=False):
        tint, sign = colour(blocks, str(block)), marker(blocks, str(block))
        (line,) = axis.plot(100 * points["kept"], points["lost"], color=tint, marker=sign, linestyle="", markersize=5)
        handles.append(line)
        known = points.dropna(subset=["low"])
        width = [known["lost"] - known["low"], known["high"] - known["lost"]]
        axis.errorbar(100 * known["kept"], known["lost"], width, fmt="none", color=tint, capsize=2, linewidth=1)
        for point in points.itertuples(index=False):
            text = f"{point.source_rank:.0f}→{point.rank:.0f}"
            axis.annotate(text, (100 * point.kept, point.lost), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axis.axhline(0, linewidth=0.8, color="0.6")
    axis.set_xlabel("variance kept, mean over sites (%)")
    axis.margins(0.1)
    units = {frame.shown(str(block)).axis for block in blocks}
    axis.set_ylabel(f"{units.pop() if len(units) == 1 else 'score'} lost to the source run")
    legend_below(figure, handles, list(blocks))
    return Picture("kept", "Variance kept against score lost", _alt(data), figure, data)


def kept_data(frame: Frame) -> pd.DataFrame:
    """block, source_rank, rank, kept (mean), least (of any site), lost (mean), low, high, n, by block and rank."""
    kept = variance_kept(frame).groupby("id")["kept"].agg(["mean", "min"])
    scores = frame.rows.set_index("id")["shown"]
    rows = []
    for block in frame.blocks:
        sign, step = 1 if frame.better(block) == "max" else -1, scale_of(frame.block(block), "shown").step
        post = frame.block(block)
        post = post[(post["procedure"] == "post") & post["done"] & post["id"].isin(kept.index)]
        for _, runs in post.groupby("label", sort=False):
            lost = (sign * (scores.reindex(runs["source"]).to_numpy(float) - runs["shown"].to_numpy(float))).tolist()
            lost = [value for value in lost if value == value]
            if lost:
                estimate, shares, run = t_interval(lost, step=step), kept.loc[runs["id"]], runs.iloc[0]
                head = (block, float(run["start_rank"]), float(run["end_rank"]))
                rows.append(
                    (
                        *head,
                        shares["mean"].mean(),
                        shares["min"].min(),
                        estimate.mean,
                        estimate.low,
                        estimate.high,
                        estimate.n,
                    )
                )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _alt(data: pd.DataFrame) -> str:
    sentences = [
        f"{p.block}, rank {p.source_rank:.0f} to {p.rank:.0f}: {100 * float(p.kept):.1f} % kept, "
        f"{number(float(p.lost), 2)} lost"
        for p in data.itertuples(index=False)
    ]
    return f"Scatter plot of the score that Post-Squeeze loses against the variance it keeps. {'; '.join(sentences)}."
