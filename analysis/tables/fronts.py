"""Pareto fronts with their uncertainty: how often a method is on the front when seeds are drawn again, and the front's
hypervolume.
"""

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.pareto import front, hypervolume, resampled_means
from analysis.stats.bootstrap import percentile
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer

_SHORT = {"train_s": "time", "peak_bytes": "memory", "trainable_params": "parameters"}
FRONTS = (("train_s",), ("peak_bytes",), ("train_s", "peak_bytes"), ("train_s", "peak_bytes", "trainable_params"))


def fronts_table(frame: Frame, rng: np.random.Generator, *, reps: int = 1_000) -> Table | None:
    """Block × method: inclusion probability on each front; None when no block has two methods with common seeds."""
    rows, data, volumes = [], [], []
    for block in frame.blocks:
        found = {costs: inclusion_of(frame, block, costs, rng, reps) for costs in FRONTS}
        methods = [m for m in frame.methods_of(block) if any(m in f.index for f in found.values())]
        for m in methods:
            rows.append((Cell(block), Cell(m), *(_cell(found[costs], m) for costs in FRONTS)))
            data += [
                (block, m, "score + " + " + ".join(c), *found[c].loc[m, ["share", "on_front"]])
                for c in FRONTS
                if m in found[c].index
            ]
        volumes += [_volume_note(block, found[FRONTS[2]])] if len(found[FRONTS[2]]) else []
    if not rows:
        return None
    heads = (
        Head("model / dataset"),
        Head("method"),
        *(Head(", ".join(["score", *(_SHORT[c] for c in costs)]), "%") for costs in FRONTS),
    )
    notes = (
        "Time is training time, memory the peak while training. Share of resamples (seeds drawn "
        "jointly for all methods) in which the method is on the "
        "front; *: on the front of the means. "
        "With few seeds the shares are coarse.",
        *volumes,
        footer(frame),
    )
    table = pd.DataFrame(data, columns=["block", "method", "front", "inclusion", "on_front"])
    return Table("pareto", "Pareto fronts and how sure they are", heads, tuple(rows), notes, table)


def inclusion_of(frame: Frame, block: str, costs: tuple[str, ...], rng: np.random.Generator, reps: int) -> pd.DataFrame:
    """Index method; share (inclusion), on_front (of the means), and in attrs: hypervolume (value, low, high) of the
    unit cube.

    Only methods with a value in every common seed enter; objectives are scaled to [0, 1] between worst and best mean.
    """
    values = [
        frame.values(block, "shown") * (1 if frame.better(block) == "max" else -1),
        *(-frame.values(block, c) for c in costs),
    ]
    whole = [m for m in frame.methods_of(block) if all(m in v and v[m].notna().all() and len(v) for v in values)]
    if len(whole) < 2:
        return pd.DataFrame(columns=["share", "on_front"])
    x = np.stack([v[whole].to_numpy(float) for v in values], axis=-1)  # (seeds, methods, objectives)
    drawn, means = resampled_means(x, rng, reps), x.mean(axis=0)
    table = pd.DataFrame({"share": front(drawn).mean(axis=0), "on_front": front(means)}, index=whole)
    low, span = means.min(axis=0), np.ptp(means, axis=0)
    if len(costs) == 2:
        unit = (drawn - low) / np.where(span > 0, span, 1.0)
        limits = percentile(hypervolume(unit, np.zeros(len(low))))
        point = hypervolume((means - low) / np.where(span > 0, span, 1.0), np.zeros(len(low)))
        table.attrs["hypervolume"] = (float(point), float(limits[0]), float(limits[1]))
    return table


def _cell(found: pd.DataFrame, method: str) -> Cell:
    if method not in found.index:
        return Cell("–", mark="absent", why="not every seed has a value")
    share = float(found.loc[method, "share"])  # type: ignore[arg-type]
    return Cell(f"{100 * share:.0f}{' *' if found.loc[method, 'on_front'] else ''}", share)


def _volume_note(block: str, found: pd.DataFrame) -> str:
    value, low, high = found.attrs["hypervolume"]
    return (
        f"{block}: hypervolume of score, training time and peak memory {value:.3f} [{low:.3f}, {high:.3f}] "
        "(each objective scaled to 0–1 between the worst and best mean)."
    )
