"""Cost relative to the control: the ratio over paired seeds, with its interval. Below 1 is cheaper."""

import numpy as np
import pandas as pd

from analysis.columns import column as declared
from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.intervals import Estimate, log_ratio_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import absent_cell, footer
from analysis.times import times_comparable

TIME = ("step_ms",)
MEMORY = ("step_bytes", "saved_bytes", "optimizer_bytes")


def relative_time(frame: Frame) -> Table | None:
    """Median step of each method over the control's, a ratio for each seed; a block whose times are marked has none."""
    return _relative(frame, "relative-time", "Time", TIME)


def relative_memory(frame: Frame) -> Table | None:
    """Memory of a step (CUDA: peak allocated), bytes saved for backward and optimizer state over the control's."""
    return _relative(frame, "relative-memory", "Memory", MEMORY)


def ratio(frame: Frame, block: str, method: str, column: str) -> Estimate:
    """Geometric mean over common seeds of method / control with a t interval (at least 95 %) on the log scale; n = 0
    without common seeds.
    """
    values = frame.values(block, column)
    timed = declared(column).unit in ("s", "ms")
    if frame.control not in values or method not in values or (timed and not times_comparable(frame.block(block))[0]):
        return Estimate(np.nan, np.nan, np.nan, 0)
    mine, base = values[method].to_numpy(), values[frame.control].to_numpy()
    both = (mine > 0) & (base > 0)  # False for NaN
    return log_ratio_interval(mine[both], base[both])


def _relative(frame: Frame, name: str, title: str, columns: tuple[str, ...]) -> Table | None:
    if frame.control is None:
        return None
    rows, data = [], []
    for block in frame.blocks:
        for method in frame.methods_of(block):
            runs = frame.cell(block, method)
            ratios = {column: ratio(frame, block, method, column) for column in columns}
            rows.append(
                (Cell(block), Cell(method), *(_cell(ratios[c], runs, c, method == frame.control) for c in columns))
            )
            data += [(block, method, c, e.mean, e.low, e.high, e.n) for c, e in ratios.items()]
    heads = (
        Head("model / dataset"),
        Head("method"),
        *(Head(declared(c).label, f"× {frame.control}", "min") for c in columns),
    )
    note = (
        f"Ratio to {frame.control} over common seeds: geometric mean [t interval of the log ratio, at least 95 %, "
        "not adjusted] (n); of a step, the run's median once it is steady. Below 1 is cheaper."
    )
    table = pd.DataFrame(data, columns=["block", "method", "column", "ratio", "low", "high", "n"])
    return Table(name, f"{title} relative to {frame.control}", heads, tuple(rows), (note, footer(frame)), table)


def _withheld(runs: pd.DataFrame, column: str) -> Cell:
    comparable, why = times_comparable(runs)
    if declared(column).unit in ("s", "ms") and not comparable:
        return Cell("not comparable", mark="absent", why=f"times are not comparable: {why}")
    return Cell("no common seed", mark="absent")


def _cell(estimate: Estimate, runs: pd.DataFrame, column: str, is_control: bool) -> Cell:
    if estimate.n == 0:
        cell = (
            absent_cell(runs, column)
            if not runs.loc[runs["status"] == "done", column].notna().any()
            else _withheld(runs, column)
        )
        return cell
    if is_control:
        return Cell(f"1 ({estimate.n})", 1.0)
    width = f" [{number(estimate.low, 3)}, {number(estimate.high, 3)}]" if np.isfinite(estimate.low) else ""
    return Cell(f"{number(estimate.mean, 3)}{width} ({estimate.n})", estimate.mean)
