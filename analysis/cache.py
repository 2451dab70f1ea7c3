"""Flat records beside the run folders, so that 10,000 of them are read once. A changed record file is read again.

The cache is never the truth: it is dropped when the code that makes it changes, and deleting it costs only time.
"""

import hashlib
import inspect
import os
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import columns, flatten

_CODE = hashlib.sha256((inspect.getsource(flatten) + inspect.getsource(columns)).encode()).hexdigest()[:12]
_CURVE_COLUMNS = ("id", "step", "epoch", "train_seconds", "train_loss", "lr", "val_score", "val_loss")


def read_records(runs: Path, ids: list[str], name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, curve points) of those ids that have a record; only new and changed files are opened.

    `name` names the cache: runs/.analysis/<name>-<code>.rows.parquet and .curves.parquet.
    """
    now = pd.DataFrame(_stats(runs, ids), columns=["id", "mtime_ns", "size"])
    rows, curves = _read(runs, name)
    known = (
        now.merge(rows[["id", "mtime_ns", "size"]], on=["id", "mtime_ns", "size"], how="inner")["id"]
        if len(rows)
        else now["id"][:0]
    )
    fresh = now[~now["id"].isin(known)]
    if fresh.empty and len(known) == len(rows):
        return rows.drop(columns=["mtime_ns", "size"]), curves
    new_rows, new_points = [], []
    for run_id, mtime_ns, size in fresh.itertuples(index=False):
        row, points = flatten.read_flat(runs / run_id / "record.json")
        new_rows.append(row | {"id": run_id, "mtime_ns": mtime_ns, "size": size})
        new_points += points
    rows = _joined(rows[rows["id"].isin(known)], pd.DataFrame(new_rows))
    curves = _joined(curves[curves["id"].isin(known)], pd.DataFrame(new_points, columns=list(_CURVE_COLUMNS)))
    _write(runs, name, rows, curves)
    return rows.drop(columns=["mtime_ns", "size"]), curves


def _stats(runs: Path, ids: list[str]) -> list[tuple[str, int, int]]:
    found = []
    for run_id in ids:
        try:
            stat = os.stat(f"{runs}/{run_id}/record.json")
        except FileNotFoundError:
            continue
        found.append((run_id, stat.st_mtime_ns, stat.st_size))
    return found


def _paths(runs: Path, name: str) -> tuple[Path, Path]:
    folder = runs / ".analysis"
    return folder / f"{name}-{_CODE}.rows.parquet", folder / f"{name}-{_CODE}.curves.parquet"


def _read(runs: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """An empty pair when there is no cache, or one that cannot be read (it is only a cache)."""
    try:
        rows, curves = (pd.read_parquet(path) for path in _paths(runs, name))
    except (OSError, ValueError):  # pyarrow.ArrowInvalid is a ValueError
        return pd.DataFrame(columns=["id", "mtime_ns", "size"]), pd.DataFrame(columns=list(_CURVE_COLUMNS))
    return rows, curves


def _joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Empty frames are left out: pandas would take their column types into the result."""
    parts = [part for part in (old, new) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else (new if len(new.columns) else old)


def _write(runs: Path, name: str, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Whole or not at all; a folder that cannot be written to (a read-only archive) is read without a cache."""
    for path, frame in zip(_paths(runs, name), (rows, curves), strict=True):
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            frame.to_parquet(part, index=False)
            os.replace(part, path)
        except OSError:
            return


def empty_row() -> dict[str, float]:
    """Every numeric column, absent."""
    return {c.name: np.nan for c in columns.COLUMNS}
