"""What tasks lose when their adapters are merged into one: side records of kind `budget`, made with --merge."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.frame import Frame
from analysis.metric import shown
from harness.ledger.paths import RunPaths
from harness.ledger.record import Record
from harness.ledger.side_record import read_all
from harness.ledger.state import record_in

KIND, VERSION = "budget", 1
_COLUMNS = ["block", "seed", "penalty", "lost"]


def interference(frame: Frame) -> pd.DataFrame:
    """block, seed, penalty (weight of the orthogonality penalty), lost (points of test score, own adapter less merged
    one, mean over the tasks): a row for each run that was trained beside a source and merged with it, as equals."""
    rows = []
    for run in _beside_a_source(frame):
        for side in read_all(RunPaths(frame.runs / run.id), KIND, VERSION):  # type: ignore[operator]
            tasks = side.question["tasks"]
            if side.question["merge"] and set(tasks) == {run.id, run.source} and len(set(tasks.values())) == 1:
                losses = [_lost(frame, task, side.answer["merged"]["scores"][task]) for task in tasks]
                rows.append((run.block, run.seed, run.penalty, sum(losses) / len(losses)))
                break  # the merged adapter is the same whatever the budget
    return pd.DataFrame(rows, columns=_COLUMNS)


def _beside_a_source(frame: Frame) -> list[Any]:
    if frame.runs is None or "source" not in frame.rows:
        return []
    rows = frame.rows[frame.rows["done"] & (frame.rows["source"] != "")]
    updates = [_record(frame, run_id).spec["method"]["update"] for run_id in rows["id"]]
    rows = rows.assign(penalty=[update.get("orthogonal") for update in updates])
    return list(rows[rows["penalty"].notna()].itertuples())


def _lost(frame: Frame, run_id: str, scores: Mapping[str, Any]) -> float:
    """Points of the primary metric."""
    dataset = _record(frame, run_id).spec["dataset"]
    own, merged = (scores[name]["test"][dataset["metric"]] for name in ("own", "merged"))
    return (own - merged) * shown(dataset["metric"]).factor * (1 if dataset["direction"] == "max" else -1)


def _record(frame: Frame, run_id: str) -> Record:
    record = record_in(frame.runs / run_id)  # type: ignore[operator]
    assert record is not None, "the run is done"
    return record
