"""Two methods on the same test examples, from the predictions that runs keep: what seeds alone cannot say.

Refuses predictions of different examples: a paired test needs the same test set in every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import Frame
from analysis.stats.bootstrap import paired_bca
from analysis.stats.intervals import Estimate
from analysis.stats.paired import mcnemar
from harness.ledger.errors import RecordError


@dataclass(frozen=True)
class OnExamples:
    """Share of examples answered right, method minus control, with its seeds × examples BCa interval.

    `p` is McNemar's exact p for a single seed, NaN for several: their answers are not independent of each other.
    """

    difference: Estimate
    p: float
    examples: int
    seeds: tuple[int, ...]


def on_examples(frame: Frame, runs: Path | str, block: str, method: str, rng: np.random.Generator) -> OnExamples:
    """Method against the sweep's control over the seeds both finished; answers are right when prediction equals target.

    Raises RecordError without a control, without a common seed, and when the runs saw different examples.
    """
    if frame.control is None:
        raise RecordError(f"sweep {frame.name} has no control method to compare {method} with.")
    mine, theirs = (_ids(frame, block, label) for label in (method, frame.control))
    seeds = tuple(sorted(set(mine) & set(theirs)))
    if not seeds:
        raise RecordError(f"{block}: {method} and {frame.control} have no finished seed in common.")
    ids = [mine[s] for s in seeds] + [theirs[s] for s in seeds]
    right = _right(Path(runs), ids)
    a, b = right[: len(seeds)], right[len(seeds) :]
    p = mcnemar(a[0], b[0]) if len(seeds) == 1 else np.nan
    return OnExamples(paired_bca(a, b, rng), p, right.shape[1], seeds)


def _ids(frame: Frame, block: str, method: str) -> dict[int, str]:
    runs = frame.cell(block, method)
    runs = runs[runs["done"]]
    return dict(zip(runs["seed"].tolist(), runs["id"].tolist(), strict=True))


def _right(runs: Path, ids: Sequence[str]) -> NDArray[np.bool_]:
    """(runs, examples), the examples in the order of their ids."""
    rows, first = [], None
    for run_id in ids:
        path = runs / run_id / "predictions.parquet"
        try:
            table = pd.read_parquet(path, columns=["id", "target", "prediction"]).sort_values("id")
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: no predictions that can be read ({error}).") from error
        names = table["id"].to_numpy()
        first = names if first is None else first
        if not np.array_equal(names, first):
            raise RecordError(f"run {run_id} was tested on other examples than run {ids[0]}; they cannot be paired.")
        rows.append((table["prediction"] == table["target"]).to_numpy(bool))
    return np.stack(rows)
