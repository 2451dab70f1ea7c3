"""Two methods on the same test examples, from the predictions that runs keep: what seeds alone cannot say.

Refuses predictions of different examples: a paired test needs the same test set in every run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.answers import Answers, read_answers
from analysis.frame import Frame
from analysis.stats.bootstrap import paired_bca
from analysis.stats.intervals import Estimate
from analysis.stats.paired import mcnemar
from harness.ledger.errors import RecordError

ANSWERED = ("accuracy", "exact_match", "matthews")  # metrics of answers that are right or wrong


@dataclass(frozen=True)
class OnExamples:
    """Share of examples answered right, method minus control, with its seeds × examples BCa interval.

    `mcnemar`: the exact p of each seed on its own, in the order of `seeds`. They are not independent of each other.
    """

    difference: Estimate
    mcnemar: tuple[float, ...]
    examples: int
    seeds: tuple[int, ...]


def on_examples(frame: Frame, block: str, method: str, rng: np.random.Generator, *, reps: int = 10_000) -> OnExamples:
    """Method against the sweep's control over the seeds both finished; answers are right when prediction equals target.

    Raises RecordError without a control, without runs on this machine, without a common seed, and when the runs saw
    different examples.
    """
    if frame.control is None:
        raise RecordError(f"sweep {frame.name} has no control method to compare {method} with.")
    if frame.runs is None:
        raise RecordError(f"sweep {frame.name} was not read from a runs folder; predictions are kept there only.")
    mine, theirs = (_ids(frame, block, label) for label in (method, frame.control))
    seeds = tuple(sorted(set(mine) & set(theirs)))
    if not seeds:
        raise RecordError(f"{block}: {method} and {frame.control} have no finished seed in common.")
    kept = answers(frame)
    right = _stacked(kept, [mine[s] for s in seeds] + [theirs[s] for s in seeds])
    a, b = right[: len(seeds)], right[len(seeds) :]
    p = tuple(mcnemar(a, b).tolist())
    return OnExamples(paired_bca(a, b, rng, reps=reps), p, right.shape[1], seeds)


def answers(frame: Frame) -> dict[str, Answers]:
    """Run id -> its answers, of every finished run whose metric counts answers. Read once for a frame."""
    if "answers" not in frame.kept:
        rows = frame.rows[frame.rows["done"] & frame.rows["metric"].isin(ANSWERED)]
        frame.kept["answers"] = {} if frame.runs is None else read_answers(frame.runs, rows["id"], frame.name)
    return frame.kept["answers"]


def _ids(frame: Frame, block: str, method: str) -> dict[int, str]:
    runs = frame.cell(block, method)
    runs = runs[runs["done"]]
    return dict(zip(runs["seed"].tolist(), runs["id"].tolist(), strict=True))


def _stacked(kept: dict[str, Answers], ids: list[str]) -> NDArray[np.bool_]:
    """(runs, examples), the examples in the order of their ids."""
    for run_id in ids:
        if run_id not in kept:
            raise RecordError(f"run {run_id} kept no predictions (predictions.parquet); run it again to have them.")
        if kept[run_id].why:
            raise RecordError(f"{kept[run_id].why}.")
        if kept[run_id].examples != kept[ids[0]].examples:
            raise RecordError(f"run {run_id} was tested on other examples than run {ids[0]}; they cannot be paired.")
    return np.stack([kept[run_id].right for run_id in ids])
