"""`peftlab advise`: the analysis answers; what it has no record of, the one estimator says, as plain numbers."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from harness.cli.grammar import load
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, read_request


def main(given: Namespace) -> int:
    """Hand the estimator to the verb of the analysis, which calls it for methods without a record."""

    def estimate(methods: Sequence[str], choices: dict[str, str], on_cpu: bool) -> list[dict[str, Any]]:
        return estimated(given.runs, methods, choices, on_cpu)

    given.estimate = estimate
    return load("analysis.verbs:advise")(given)


def estimated(runs: Any, methods: Sequence[str], choices: dict[str, str], on_cpu: bool) -> list[dict[str, Any]]:
    """method, gb (10^9 bytes of a step), hours (of a whole run) and where the hours are from, of each of these methods
    that can be run with the cards in `choices`; None for what is not known. Empty where a card is not there.

    on_cpu: precision auto is float32 there, else as CUDA holds it.
    """
    words = [f"method={','.join(methods)}", *(f"{axis}={name}" for axis, name in choices.items()), "seed=0"]
    try:
        request = read_request([*words, *(["recipe.precision=float32"] if on_cpu else [])])
        plan = plan_sweep(request, Resolver())
    except (SpecError, PlanError):
        return []  # a card of somebody else's, which this machine does not have
    from harness.planning.estimate import estimates  # shapes that are new load torch

    needs = estimates(plan, Store(runs), settings_from(request.config).cache)
    return [
        {
            "method": each.choices["method"],
            "gb": None if each.bytes is None else each.bytes / 1e9,
            "hours": None if each.wall_seconds is None else each.wall_seconds / 3600,
            "hours_from": each.seconds_from,
        }
        for each in needs
    ]
