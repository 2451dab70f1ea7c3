"""What share of an update's variance each change of rank kept, from the history in the records of squeezed runs."""

import pandas as pd

from analysis.frame import Frame
from harness.ledger.state import record_in

_COLUMNS = ["id", "stage", "step", "rank_before", "rank", "site", "kept"]


def variance_kept(frame: Frame) -> pd.DataFrame:
    """id, stage, step, rank_before, rank, site, kept: one row for each site of each change of rank of a finished run.

    Empty for a frame without a folder of runs. Read once for a frame.
    """
    if "variance_kept" not in frame.kept:
        frame.kept["variance_kept"] = _read(frame)
    return frame.kept["variance_kept"]


def _read(frame: Frame) -> pd.DataFrame:
    squeezed = frame.rows[frame.rows["done"] & ~frame.rows["procedure"].isin(["", "direct"])]
    rows = []
    for run_id in squeezed["id"] if frame.runs is not None else ():
        record = record_in(frame.runs / run_id)  # type: ignore[operator]
        for stage, entry in enumerate(record.links if record else ()):
            sites = entry.get("variance_kept")
            if isinstance(sites, dict):
                head = (run_id, stage, entry["step"], entry["rank_before"], entry["rank"])
                rows += [(*head, site, float(kept)) for site, kept in sites.items()]
    return pd.DataFrame(rows, columns=_COLUMNS)
