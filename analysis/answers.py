"""Which test examples every run answered right, from its predictions; kept beside the records, so that they are read
once.
"""

import hashlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis import cache

_CODE = hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()[:12]
_COLUMNS = ("id", "mtime_ns", "size", "examples", "n", "right", "why")


@dataclass(frozen=True)
class Answers:
    """`examples` is a digest of the examples' ids; `right` (n_examples,) is in the order of the ids. `why` says why
    there are none.
    """

    examples: str
    right: NDArray[np.bool_]
    why: str = ""


def read_answers(runs: Path, ids: Iterable[str], name: str) -> dict[str, Answers]:
    """The answers of those runs that kept predictions; only new and changed files are opened."""
    path = cache.path(runs, name, f"{_CODE}.answers")
    now = cache.stats(runs, list(ids), "predictions.parquet")
    old = cache.read(path)
    known, fresh = cache.known_and_fresh(now, pd.DataFrame(columns=list(_COLUMNS)) if old is None else old)
    if len(fresh):
        new = pd.DataFrame([_read(runs, *facts) for facts in fresh.itertuples(index=False)], columns=list(_COLUMNS))
        known = cache.joined(known, new)
        cache.write(path, known)
    return {row.id: Answers(row.examples, _unpacked(row.right, row.n), row.why) for row in known.itertuples()}


def _read(runs: Path, run_id: str, mtime_ns: int, size: int) -> tuple[object, ...]:
    path = runs / run_id / "predictions.parquet"
    try:
        with pq.ParquetFile(path) as file:  # a tenth of what a data frame of it costs
            table = file.read(columns=["id", "target", "prediction"], use_threads=False)
        ids, target, prediction = (table.column(name).to_numpy() for name in ("id", "target", "prediction"))
        order = np.argsort(ids, kind="stable")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return run_id, mtime_ns, size, "", 0, b"", f"{path}: no predictions that can be read ({error})"
    right = np.asarray(prediction == target, bool)[order]
    examples = hashlib.sha256("\n".join(map(str, ids[order])).encode()).hexdigest()[:16]
    return run_id, mtime_ns, size, examples, len(right), np.packbits(right).tobytes(), ""


def _unpacked(right: bytes, n: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(right, np.uint8), count=n).astype(bool)
