"""The kinds about single weights, W0 against W0 + ΔW: intruder dimensions, geometry, amplification, subspaces.

W0 is decomposed once in a process for all methods and seeds that start from it, as long as memory for it lasts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from harness.diagnostics.factors import Change, column_factors
from harness.diagnostics.geometry import geometry
from harness.diagnostics.intruders import THRESHOLDS, Decomposition, decompose, intruders, largest_cosines
from harness.diagnostics.subject import Subject, WeightChange
from harness.diagnostics.subspaces import amplification, left_directions, right_directions
from harness.ledger.errors import DataError

KEPT_BYTES = 2e9
LARGEST = 64  # singular values of each change that are recorded
_decompositions: dict[bytes, Decomposition] = {}


def measure_intruders(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of each weight at each threshold, of its first `most` left singular vectors and of all; means at 0.5."""
    weights = [_intruders_of(change, question["most"]) for change in _changes(subject)]
    half = THRESHOLDS.index(0.5)
    return {
        "intruders_first": fmean(weight["first"][half] for weight in weights),
        "intruders_all": fmean(weight["all"][half] for weight in weights),
        "thresholds": list(THRESHOLDS),
        "weights": weights,
    }


def measure_geometry(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """Spectrum (the largest 64), ranks, changed columns and size of each change, and their means over weights."""
    weights = [_geometry_of(change) for change in _changes(subject)]
    names = ("stable_rank", "numerical_rank", "relative_norm")
    return {**{name: fmean(weight[name] for weight in weights) for name in names}, "weights": weights}


def measure_amplification(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """‖ΔW‖ over what W0 has in the first `rank` directions of ΔW, its own and random ones; medians over weights."""
    weights = [_amplification_of(change, question["rank"]) for change in _changes(subject)]
    factors = {name: [weight[name] for weight in weights] for name in ("factor", "factor_top", "factor_random")}
    return {**{name: median(values) for name, values in factors.items()}, "weights": weights}


def measure_subspaces(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The first `directions` singular directions, right and left, of the changes in the middle adapted block.

    Of a change of lower numerical rank, so many. Similarities are between runs: what reads the records takes them.
    """
    changes = _changes(subject)
    layers = sorted({change.layer for change in changes})
    middle = layers[len(layers) // 2]
    return {"weights": [_directions_of(c, question["directions"]) for c in changes if c.layer == middle]}


def decomposition_of(weight: Tensor) -> Decomposition:
    """That of a pretrained weight (out, in), kept for the next run that starts from it."""
    key = hashlib.sha256(weight.contiguous().numpy().tobytes()).digest()
    if key not in _decompositions:
        base = decompose(weight)
        while _decompositions and _size(base) + sum(map(_size, _decompositions.values())) > KEPT_BYTES:
            del _decompositions[next(iter(_decompositions))]  # the oldest
        _decompositions[key] = base
    return _decompositions[key]


def _changes(subject: Subject) -> tuple[WeightChange, ...]:
    if not subject.changes:
        raise DataError("it adapts no weight matrix.")
    return subject.changes


def _intruders_of(change: WeightChange, most: int) -> dict[str, Any]:
    cosines = largest_cosines(decomposition_of(change.before), _update(change))
    return {**_place(change), "vectors": len(cosines), "first": intruders(cosines[:most]), "all": intruders(cosines)}


def _geometry_of(change: WeightChange) -> dict[str, Any]:
    numbers = asdict(geometry(change.before, _update(change)))
    return {**_place(change), **numbers, "spectrum": list(numbers["spectrum"][:LARGEST])}


def _amplification_of(change: WeightChange, rank: int) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)
    result = amplification(decomposition_of(change.before), _update(change), rank, rng)
    factors = {name: getattr(result, name) for name in ("factor", "factor_top", "factor_random")}
    return {**_place(change), **asdict(result), **factors}


def _directions_of(change: WeightChange, most: int) -> dict[str, Any]:
    update = _update(change)
    count = min(most, geometry(change.before, update).numerical_rank)
    right, left = right_directions(update, count), left_directions(update, count)
    return {**_place(change), "right": _rows(right.T), "left": _rows(left.T)}


def _rows(directions: Tensor) -> list[list[float]]:
    return [[round(value, 7) for value in row] for row in directions.tolist()]


def _place(change: WeightChange) -> dict[str, Any]:
    return {"path": change.path, "layer": change.layer, "target": change.target, "shape": list(change.before.shape)}


def _update(change: WeightChange) -> Change:
    """The columns that changed where they are few. Of a merged product of factors there is only the rounded sum."""
    update = change.after.double() - change.before.double()
    columns = column_factors(update)
    return update if columns is None else columns


def _size(base: Decomposition) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (base.u, base.s, base.vt))
