"""Flat records beside the run folders, so that 10,000 of them are read once. A changed record file is read again.

The cache is never the truth: it is dropped when the code that makes it changes, and deleting it costs only time.
"""

import hashlib
import inspect
import os
from pathlib import Path

import pandas as pd

from analysis import columns, flatten
from harness.ledger import migrate

_CODE = hashlib.sha256("".join(map(inspect.getsource, (flatten, columns, migrate))).encode()).hexdigest()[:12]
_STAMP = ("id", "mtime_ns", "size")
_CURVE_COLUMNS = ("id", "step", "epoch", "train_seconds", "train_loss", "lr", "val_score", "val_loss")


def read_records(runs: Path, ids: list[str], name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, curve points) of those ids that have a record; only new and changed files are opened.

    `name` names the cache: runs/.analysis/<name>-<code>.rows.parquet and .curves.parquet.
    """
    rows_path, curves_path = (path(runs, name, f"{_CODE}.{kind}") for kind in ("rows", "curves"))
    rows, curves = read(rows_path), read(curves_path)
    if rows is None or curves is None:  # one without the other is no cache
        rows, curves = pd.DataFrame(columns=list(_STAMP)), pd.DataFrame(columns=list(_CURVE_COLUMNS))
    known, fresh = known_and_fresh(stats(runs, ids, "record.json"), rows)
    if len(fresh) or len(known) < len(rows):
        new_rows, new_points = [], []
        for run_id, mtime_ns, size in fresh.itertuples(index=False):
            row, points = flatten.read_flat(runs / run_id / "record.json")
            new_rows.append(row | {"id": run_id, "mtime_ns": mtime_ns, "size": size})
            new_points += points
        curves = joined(curves[curves["id"].isin(known["id"])], pd.DataFrame(new_points, columns=list(_CURVE_COLUMNS)))
        known = joined(known, pd.DataFrame(new_rows))
        write(rows_path, known)
        write(curves_path, curves)
    return known.drop(columns=list(_STAMP[1:])), curves


def stats(runs: Path, ids: list[str], file: str) -> pd.DataFrame:
    """id, mtime_ns, size of that file of each run that has it."""
    stamps = []
    for run_id in ids:
        try:
            stat = os.stat(f"{runs}/{run_id}/{file}")
        except FileNotFoundError:
            continue
        stamps.append((run_id, stat.st_mtime_ns, stat.st_size))
    return pd.DataFrame(stamps, columns=list(_STAMP))


def path(runs: Path, name: str, kind: str) -> Path:
    """Where a cache of that name lies."""
    return runs / ".analysis" / f"{name}-{kind}.parquet"


def read(file: Path) -> pd.DataFrame | None:
    """None when there is no cache, or one that cannot be read (it is only a cache)."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):  # pyarrow.ArrowInvalid is a ValueError
        return None


def known_and_fresh(now: pd.DataFrame, old: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(cached rows that are still true, stamps of what must be read)."""
    if old.empty:
        return old, now
    same = now.merge(old[list(_STAMP)], on=list(_STAMP), how="inner")["id"]
    return old[old["id"].isin(same)], now[~now["id"].isin(same)]


def joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Empty frames are left out: pandas would take their column types into the result."""
    parts = [part for part in (old, new) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else (new if len(new.columns) else old)


def write(file: Path, frame: pd.DataFrame) -> None:
    """Whole or not at all; a folder that cannot be written to (a read-only archive) is read without a cache, and so are
    damaged records with a text where a number belongs.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(exist_ok=True)
        frame.to_parquet(part, index=False)
        os.replace(part, file)
    except (OSError, ValueError, TypeError):  # the last two: pyarrow's, for a column of several types
        part.unlink(missing_ok=True)
