"""Adapters measured after their run at lower ranks and with parameters dropped: side records of kind `shrunk`."""

from typing import Any

import pandas as pd

from analysis.frame import Frame
from analysis.metric import shown
from harness.ledger.paths import RunPaths
from harness.ledger.side_record import SideRecord, read_all

KIND, VERSION = "shrunk", 1
_DROPPED = ["block", "label", "seed", "how", "kept", "draw", "score", "lost"]
_SERVED = ["block", "label", "seed", "rank", "score", "latency_ms"]


def shrunk(frame: Frame) -> pd.DataFrame:
    """block, label, seed, how (random, magnitude), kept (share), draw, score, lost (points, to the whole adapter)."""
    rows = []
    for run, side, factor in _sides(frame):
        sign = factor if frame.better(run.block) == "max" else -factor
        whole = side.answer["whole"]["test"]
        for entry in side.answer["dropped"]:
            place = (run.block, run.label, run.seed, entry["how"], entry["kept"], entry["draw"])
            rows.append((*place, factor * entry["test"], sign * (whole - entry["test"])))
    return pd.DataFrame(rows, columns=_DROPPED)


def served(frame: Frame) -> pd.DataFrame:
    """block, label, seed, rank, score, latency_ms: one row for each rank that an adapter was served at."""
    rows = [
        (run.block, run.label, run.seed, entry["rank"], factor * entry["test"], entry["latency_ms"])
        for run, side, factor in _sides(frame)
        for entry in side.answer["served"]
    ]
    return pd.DataFrame(rows, columns=_SERVED)


def _sides(frame: Frame) -> list[tuple[Any, SideRecord, float]]:
    """(run, its measurement, factor of the score as it is shown); read once for a frame."""
    if "shrunk" not in frame.kept:
        done = frame.rows[frame.rows["done"]]
        frame.kept["shrunk"] = [
            (run, sides[-1], shown(str(run.metric), str(run.score_unit)).factor)
            for run in (done.itertuples() if frame.runs is not None else ())
            if (sides := read_all(RunPaths(frame.runs / str(run.id)), KIND, VERSION))  # type: ignore[operator]
        ]
    return frame.kept["shrunk"]
