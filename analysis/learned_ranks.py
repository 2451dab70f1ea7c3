"""Which rank each weight of a finished run ended with, where the method learned it: from the last entry of its record.

Weights are named by the model's card: layer, and canonical target (q, k, v, o, gate, up, down).
"""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.frame import Frame
from harness.ledger.record import Record
from harness.ledger.state import record_in

ATTENTION, MLP = ("q", "k", "v", "o"), ("gate", "up", "down")
COUNTED, STABLE = "rank", "stable_rank"  # a number of components; ‖ΔW‖_F² / σ_max² where no component is gone
_COLUMNS = ["id", "block", "label", "seed", "layer", "target", "measure", "rank"]


def learned_ranks(frame: Frame) -> pd.DataFrame:
    """id, block, label, seed, layer, target, measure, rank: one row for each weight of each run that learned its ranks.

    measure: `rank`, or `stable_rank` for methods that cut no component. Read once for a frame; empty for a frame
    without a folder of runs.
    """
    if "learned_ranks" not in frame.kept:
        frame.kept["learned_ranks"] = _read(frame)
    return frame.kept["learned_ranks"]


def _read(frame: Frame) -> pd.DataFrame:
    runs = frame.rows[frame.rows["done"] & frame.rows["learns_ranks"].astype(bool)]
    rows: list[tuple[Any, ...]] = []
    for run in runs.itertuples() if frame.runs is not None else ():
        record = record_in(frame.runs / str(run.id))  # type: ignore[operator]
        head = (run.id, run.block, run.label, run.seed)
        rows += [(*head, *site) for site in (ranks_of(record) if record else ())]
    return pd.DataFrame(rows, columns=_COLUMNS)


def ranks_of(record: Record) -> list[tuple[int, str, str, float]]:
    """(layer, target, measure, rank) of each weight in the order of the model; empty where the record has no ranks."""
    last = record.links[-1] if record.links else {}
    sites = last.get("sites", last.get("ranks"))  # what updates report of themselves, else what a schedule left
    named = ((path, _rank(report)) for path, report in sites.items()) if isinstance(sites, Mapping) else ()
    targets = record.spec["model"]["targets"]
    return [(*place, *rank) for path, rank in named if rank and (place := place_of(path, targets))]


def place_of(path: str, targets: Mapping[str, str]) -> tuple[int, str] | None:
    """(layer, target) of a weight by its path in the model; None where the card names no such module."""
    ends = [name for name, address in targets.items() if path == address or path.endswith(f".{address}")]
    if not ends:
        return None
    target = max(ends, key=lambda name: len(targets[name]))  # output.dense ends attention.output.dense too
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.)", path)
    return (int(numbers[-1]) if numbers else 0), target


def _rank(report: Any) -> tuple[str, float] | None:
    report = {COUNTED: report} if isinstance(report, int) else report
    measure = next((name for name in (COUNTED, STABLE) if isinstance(report, Mapping) and name in report), None)
    return (measure, float(report[measure])) if measure else None
