"""The side records of a sweep (`peftlab diagnose`), as frames: a row for each finished run that has one."""

from collections import Counter
from typing import Any

import pandas as pd

from analysis.frame import Frame
from harness.ledger.diagnoses import VERSIONS
from harness.ledger.paths import RunPaths
from harness.ledger.side_record import SideRecord, read_all


def diagnoses(frame: Frame, kind: str, checkpoint: str = "selected") -> pd.DataFrame:
    """id, block, label, seed, and all plain numbers of the answers; empty where nothing was diagnosed.

    Of several answers of a run, to questions of other sizes, the one counts whose question most runs have answered; of
    these the one of most rows or examples.
    """
    rows = [
        {"id": run["id"], "block": run["block"], "label": run["label"], "seed": run["seed"], **_plain(side)}
        for run, side in side_records(frame, kind, checkpoint)
    ]
    return pd.DataFrame(rows)


def side_records(frame: Frame, kind: str, checkpoint: str = "selected") -> list[tuple[dict[str, Any], SideRecord]]:
    """(row of the frame, side record) of each finished run that has one of that checkpoint. Read once for a frame."""
    key = f"diagnoses/{kind}/{checkpoint}"
    if key not in frame.kept:
        frame.kept[key] = _read(frame, kind, checkpoint)
    return frame.kept[key]


def _read(frame: Frame, kind: str, checkpoint: str) -> list[tuple[dict[str, Any], SideRecord]]:
    found = []
    for run in _finished(frame) if frame.runs is not None else ():
        folder = RunPaths(frame.runs / run["id"])  # type: ignore[operator]
        sides = [side for side in read_all(folder, kind, VERSIONS[kind]) if side.question["checkpoint"] == checkpoint]
        found += [(run, sides)] if sides else []
    answered = Counter(side.digest for _, sides in found for side in sides)

    def order(side: SideRecord) -> tuple[int, int, str]:
        sizes = [size for size in side.question.values() if isinstance(size, int)]
        return answered[side.digest], sum(sizes), side.digest

    return [(run, max(sides, key=order)) for run, sides in found]


def _finished(frame: Frame) -> list[dict[str, Any]]:
    """The rows of finished runs; made once for a frame, and not to be written to."""
    if "finished" not in frame.kept:
        frame.kept["finished"] = frame.rows[frame.rows["done"]].to_dict("records")
    return frame.kept["finished"]


def _plain(side: SideRecord) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in side.answer.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
