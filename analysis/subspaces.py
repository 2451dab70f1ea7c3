"""Which directions the updates of two runs share: all pairs of a block's methods, and of the seeds of one method."""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.diagnoses import side_records
from analysis.frame import Frame
from analysis.stats.subspaces import chance, similarity

SIDES = ("right", "left")  # singular vectors: of the inputs, of the outputs
Grid = NDArray[np.float64]


def pairs(frame: Frame) -> Iterator[tuple[str, str, str]]:
    """(block, method, other) of each two methods with directions; a method with itself where it has two seeds."""
    runs = _runs(frame)
    for block in frame.blocks:
        labels = [label for label in frame.methods if (block, label) in runs]
        for first, second in combinations_with_replacement(labels, 2):
            if first != second or len(runs[block, first]) > 1:
                yield block, first, second


def grids(frame: Frame, block: str, first: str, second: str, side: str) -> tuple[list[Grid], Grid]:
    """φ(i, j) of each pair of runs, mean over the weights that both changed, and its chance level, likewise.

    Of a method with itself the runs are of two seeds; of two methods, all pairs. Every grid has the size that all of
    them have.
    """
    runs = _runs(frame)
    mine, theirs = runs[block, first], runs[block, second]
    paired = [(a, b) for a, b in product(range(len(mine)), range(len(theirs))) if first != second or a < b]
    weights = [_of_two(mine[a], theirs[b], side) for a, b in paired]
    shapes = [grid.shape for of_pair in weights for grid, _ in of_pair]
    if not shapes or not all(weights):
        return [], np.zeros((0, 0))
    m, n = (min(sizes) for sizes in zip(*shapes, strict=True))
    means = [np.mean([grid[:m, :n] for grid, _ in of_pair], axis=0) for of_pair in weights]
    return means, np.mean([level[:m, :n] for of_pair in weights for _, level in of_pair], axis=0)


def _of_two(one: dict[str, Any], other: dict[str, Any], side: str) -> list[tuple[Grid, Grid]]:
    """(φ, its chance level) of each weight that both changed."""
    both = [(np.asarray(one[path][side], float), np.asarray(other[path][side], float)) for path in one if path in other]
    return [(similarity(a, b), chance(a.shape[1], len(a), len(b))) for a, b in both]


def _runs(frame: Frame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(block, method) -> its runs: path of each weight that changed -> its directions."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run, side in side_records(frame, "subspaces"):
        weights = {weight["path"]: weight for weight in side.answer["weights"] if weight["right"]}
        if weights:
            runs.setdefault((run["block"], run["label"]), []).append(weights)
    return runs
