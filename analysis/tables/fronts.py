"""Pareto fronts with their uncertainty: how often a method is on the front when seeds are drawn again, and the front's
hypervolume.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import Frame
from analysis.pareto import front, hypervolume, inclusion, lattices, resamples
from analysis.table import Cell, Head, Table
from analysis.tables.cells import SEED, footer

Floats = NDArray[np.float64]
_SHORT = {"train_s": "time", "step_bytes": "memory", "trainable_params": "parameters"}
FRONTS = (("train_s",), ("step_bytes",), ("train_s", "step_bytes"), ("train_s", "step_bytes", "trainable_params"))

_VOLUMES = (
    "Hypervolume of score, training time and memory (each scaled to 0–1 between its worst and best mean), with the "
    "middle 95 % of the resamples: "
)


@dataclass(frozen=True)
class Front:
    """Method -> (inclusion probability, on the front of the means), and the hypervolume (value, low, high)
    of 3-D fronts.
    """

    methods: Mapping[str, tuple[float, bool]]
    hypervolume: tuple[float, float, float] | None


def fronts_table(frame: Frame, rng: np.random.Generator | None = None, *, reps: int = 10_000) -> Table | None:
    """Block × method: inclusion probability on each front; None when no block has two methods with common seeds."""
    rng = rng or np.random.default_rng(SEED)
    rows, data, volumes = [], [], []
    seeds = {block: max(1, len(frame.values(block, "shown"))) for block in frame.blocks}
    drawn = {n: resamples(n, rng, reps) for n in dict.fromkeys(seeds.values())}  # the same for all fronts and blocks
    for block in frame.blocks:
        fronts = {costs: inclusion_of(frame, block, costs, *drawn[seeds[block]]) for costs in FRONTS}
        methods = [m for m in frame.methods_of(block) if any(m in f.methods for f in fronts.values())]
        for m in methods:
            rows.append((Cell(block), Cell(m), *(_cell(fronts[costs], m) for costs in FRONTS)))
            data += [
                (block, m, "score + " + " + ".join(c), *fronts[c].methods[m]) for c in FRONTS if m in fronts[c].methods
            ]
        volumes += [_volume_text(block, fronts[FRONTS[2]])] if fronts[FRONTS[2]].hypervolume else []
    if not rows:
        return None
    heads = (
        Head("model / dataset"),
        Head("method"),
        *(Head(", ".join(["score", *(_SHORT[c] for c in costs)]), "%") for costs in FRONTS),
    )
    notes = (
        "Probability that the method is on the front when seeds are drawn again, jointly for all methods and the same "
        "for all fronts: over every possible sample up to seven seeds, else over 10,000 (error below .5). Equal scores "
        "in a sample count half. *: on the front of the means. Of few seeds it is coarse, and no interval. Time is "
        "training time. Memory is the peak allocated on a GPU; on a CPU it is the ledger of a step, for the resident "
        "set holds what earlier runs left.",
        *([_VOLUMES + "; ".join(volumes) + "."] if volumes else []),
        footer(frame),
    )
    table = pd.DataFrame(data, columns=["block", "method", "front", "inclusion", "on_front"])
    return Table("pareto", "Pareto fronts and how sure they are", heads, tuple(rows), notes, table)


def inclusion_of(frame: Frame, block: str, costs: tuple[str, ...], counts: Floats, chances: Floats) -> Front:
    """One front of a block.

    Only methods with a value in every common seed enter; fewer than two of them are no front.
    """
    values = [frame.values(block, name).to_numpy() for name in ("shown", *costs)]
    x = np.stack(values, axis=-1) * [1 if frame.better(block) == "max" else -1, *[-1] * len(costs)]
    whole = np.isfinite(x).all(axis=(0, 2)) & (len(x) > 0)  # x: (seeds, methods, objectives)
    if whole.sum() < 2:
        return Front({}, None)
    x, names = x[:, whole], [m for m, kept in zip(frame.methods_of(block), whole, strict=True) if kept]
    shares, on_front = inclusion(x, counts, chances).tolist(), front(lattices(x).sum(axis=0)).tolist()
    volume = _volume(x, counts[:2_000], chances[:2_000]) if len(costs) == 2 else None
    return Front(dict(zip(names, zip(shares, on_front, strict=True), strict=True)), volume)


def _volume(x: Floats, counts: Floats, chances: Floats) -> tuple[float, float, float]:
    """Hypervolume of the means and the middle 95 % of its resamples, each objective scaled to [0, 1] between its worst
    and best mean.
    """
    means, drawn = x.mean(axis=0), np.tensordot(counts, x, axes=1) / len(x)
    low, span = means.min(axis=0), np.ptp(means, axis=0)
    scale, origin = np.where(span > 0, span, 1.0), np.zeros(len(low))
    volumes = hypervolume((drawn - low) / scale, origin)
    limits = np.quantile(volumes, [0.025, 0.975], weights=chances / chances.sum(), method="inverted_cdf")
    return float(hypervolume((means - low) / scale, origin)), float(limits[0]), float(limits[1])


def _cell(front: Front, method: str) -> Cell:
    if method not in front.methods:
        return Cell("–", mark="absent", why="not every seed has a value")
    share, on_front = front.methods[method]
    return Cell(f"{100 * share:.0f}{' *' if on_front else ''}", share)


def _volume_text(block: str, front: Front) -> str:
    value, low, high = front.hypervolume or (np.nan, np.nan, np.nan)
    return f"{block} {value:.3f} [{low:.3f}, {high:.3f}]"
