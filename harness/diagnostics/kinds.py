"""The table of kinds: name -> "module:function" that measures it, imported when it is asked for.

A measure takes a `harness.diagnostics.subject.Subject` and the question (JSON-ready: `checkpoint`, and the values of
`DEFAULTS`), and returns JSON-ready plain numbers, lists and texts. It raises DataError or MethodError with one
sentence where it cannot be answered, NothingToMeasure where this run has nothing of the kind. A kind's version is in
`harness.ledger.diagnoses`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

KINDS = {
    "generalization": "harness.diagnostics.generalization:measure",
    "forgetting": "harness.diagnostics.forgetting:measure",
    "bounds": "harness.diagnostics.bounds:measure",
    "intruders": "harness.diagnostics.weights:measure_intruders",
    "geometry": "harness.diagnostics.weights:measure_geometry",
    "amplification": "harness.diagnostics.weights:measure_amplification",
    "subspaces": "harness.diagnostics.weights:measure_subspaces",
    "curvature": "harness.diagnostics.of_loss:curvature",
    "landscape": "harness.diagnostics.of_landscape:measure",
    "start": "harness.diagnostics.of_start:measure",
}
DEFAULTS: dict[str, dict[str, Any]] = {  # by kind, what a question holds beside the checkpoint
    "generalization": {"rows": 1000},
    "intruders": {"most": 10},
    "amplification": {"rank": 4},
    "subspaces": {"directions": 8},
    "curvature": {"examples": 8, "draws": 10},
    "landscape": {"examples": 8},
    "start": {"examples": 8},
}
Measure = Callable[[Any, Mapping[str, Any]], dict[str, Any]]


def measure_of(kind: str) -> Measure:
    """The function that measures a kind."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(module), name)
