"""Stacked bars: the memory ledger by role, and the wall clock by its five clocks."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import CLOCKS, LEDGER, column
from analysis.figures.style import PAPER, Picture, legend_below, panels, short, styled
from analysis.frame import Frame

_PARTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_HATCHES = ("", "///", "...", "xx", "\\\\\\")  # parts are told apart in grey print too


@styled
def ledger_bars(frame: Frame) -> Picture:
    """Weights, adapter, gradients, optimizer and bytes saved for backward of one step, each the mean over runs."""
    return _bars(frame, LEDGER, 1e-6, "MB", "memory-ledger", "Memory by role in one training step")


@styled
def time_bars(frame: Frame) -> Picture:
    """Set-up, training, evaluation, checkpoints and logging of a run, per method: the mean over runs, as in tables."""
    return _bars(frame, CLOCKS, 1.0, "s", "time-decomposition", "Wall clock of a run by its five clocks, means")


def _bars(frame: Frame, columns: tuple[str, ...], factor: float, unit: str, name: str, title: str) -> Picture:
    data = _means(frame, columns, factor)
    most = max((len(frame.methods_of(b)) for b in frame.blocks), default=1)
    figure, axes = panels(max(len(frame.blocks), 1), width=4.2, height=0.9 + 0.27 * most, columns=2)
    handles: list[Any] = []
    for axis, block in zip(axes, frame.blocks, strict=True):
        handles = _panel(axis, data[data["block"] == block], columns)
        axis.set_title(short(block, 40))
        axis.set_xlabel(f"{'memory' if unit == 'MB' else 'time'} ({unit})")
    legend_below(figure, handles, [column(c).label for c in columns])
    return Picture(name, title, _alt(data, columns, unit, title), figure, data)


def _means(frame: Frame, columns: tuple[str, ...], factor: float) -> pd.DataFrame:
    rows = []
    for block in frame.blocks:
        for method in frame.methods_of(block):
            runs = frame.cell(block, method)
            mean = runs.loc[runs["status"] == "done", list(columns)].mean() * factor
            rows.append((block, method, *mean))
    return pd.DataFrame(rows, columns=["block", "method", *columns])


def _panel(axis: Any, here: pd.DataFrame, columns: tuple[str, ...]) -> list[Any]:
    left, handles = np.zeros(len(here)), []
    places = np.arange(len(here))[::-1]
    for i, name in enumerate(columns):
        widths = here[name].fillna(0.0).to_numpy(float)
        handles.append(
            axis.barh(
                places,
                widths,
                left=left,
                height=0.68,
                color=_PARTS[i],
                hatch=_HATCHES[i],
                edgecolor=PAPER,
                linewidth=0.5,
            )
        )
        left = left + widths
    for y, (_, row) in zip(places, here.iterrows(), strict=True):
        if row[list(columns)].isna().all():
            axis.annotate(
                "no finished run",
                (0, y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                fontstyle="italic",
            )
    axis.set_yticks(places, [short(str(m)) for m in here["method"]])
    axis.grid(axis="y", visible=False)
    return handles


def _alt(data: pd.DataFrame, columns: tuple[str, ...], unit: str, title: str) -> str:
    sentences = []
    for row in data.dropna(subset=list(columns), how="all").to_dict("records"):
        parts = ", ".join(f"{column(c).label} {row[c]:.3g}" for c in columns if row[c] == row[c])
        sentences.append(f"{row['block']}, {row['method']}: {parts} {unit}")
    return f"Stacked bars. {title}. " + "; ".join(sentences) + "."
