"""The kind `landscape`: the training loss around the weights of a run, on a random plane and along its own path.

Only the adapted weights of the merged model move; the head stays the run's. The examples are alike for every
method and seed, and so is the random draw.
"""

import math
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import torch

from harness.diagnostics.landscape import Direction, filter_normalised, losses_at, path_plane, rings, steps_around
from harness.diagnostics.of_loss import losses
from harness.diagnostics.questions import folder_of
from harness.diagnostics.subject import Subject, load_subject
from harness.ledger.errors import DataError, NothingToMeasure
from harness.ledger.store import Store

RADII, ANGLES = (0.25, 0.5, 0.75, 1.0), 8  # of the random plane; 1: each row moves by its own norm
AT = 0.5  # the radius of `ring_rise`
LINE, SIDE = 9, 6  # steps along a path of two points, and along each side of the plane of three


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, its rise on rings of a random plane, and the loss around the path start, selected, last.

    `losses` has a row for each radius and a column for each angle. Raises NothingToMeasure without an adapted weight,
    DataError where a loss is not finite.
    """
    if not subject.changes:
        raise NothingToMeasure("it adapts no weight matrix.")
    weights, loss = [site.weight for site in subject.sites], _loss_of(subject, question["examples"])
    draw = torch.Generator().manual_seed(0)
    axes = [filter_normalised(weights, draw) for _ in range(2)]
    centre, *values = _finite(losses_at(loss, weights, axes, [(0.0, 0.0), *rings(RADII, ANGLES)]))
    rows = [values[at : at + ANGLES] for at in range(0, len(values), ANGLES)]
    rises = [[value - centre for value in row] for row in rows]
    return {
        "loss": centre,
        "ring_rise": fmean(rises[RADII.index(AT)]),
        "ring_rise_max": max(rises[RADII.index(AT)]),
        "radii": list(RADII),
        "rise_mean": [fmean(row) for row in rises],
        "rise_max": [max(row) for row in rises],
        "losses": rows,
        "path": _path(subject, question["checkpoint"], loss),
    }


def _path(subject: Subject, checkpoint: str, loss: Callable[[], float]) -> dict[str, Any] | None:
    """The loss on the line or the plane through the points of the training that are known; None where nothing moved."""
    known: dict[str, Direction] = {
        checkpoint: [change.after for change in subject.changes],
        "start": [change.before for change in subject.changes],
        **_other(subject, checkpoint),
    }
    plane = path_plane(list(known.values()))
    if not plane.axes:
        return None
    steps = [steps_around(values, LINE if len(plane.axes) == 1 else SIDE) for values in zip(*plane.points, strict=True)]
    grid = torch.cartesian_prod(*(torch.tensor(values, dtype=torch.float64) for values in steps))
    weights = [site.weight for site in subject.sites]
    return {
        "names": list(known),
        "points": [list(point) for point in plane.points],
        "explained": list(plane.explained),
        "steps": steps,
        "losses": _finite(losses_at(loss, weights, plane.axes, grid.reshape(-1, len(plane.axes)).tolist())),
    }


def _other(subject: Subject, checkpoint: str) -> dict[str, Direction]:
    """The weights at the other checkpoint, where it was kept and is another."""
    folder = Store(subject.settings.runs).paths(subject.run_id)
    other = "last" if checkpoint == "selected" else "selected"
    try:
        if folder_of(folder, subject.record, other) == folder_of(folder, subject.record, checkpoint):
            return {}
    except DataError:
        return {}
    there = load_subject(folder, subject.record, subject.settings, other)
    return {other: [change.after for change in there.changes]}


def _loss_of(subject: Subject, examples: int) -> Callable[[], float]:
    shares = losses(subject, examples)
    return lambda: sum(float(share()) for share in shares)


def _finite(values: list[float]) -> list[float]:
    if not all(map(math.isfinite, values)):
        raise DataError("the loss around its weights is not finite everywhere.")
    return values
