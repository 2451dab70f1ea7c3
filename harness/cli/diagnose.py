"""`peftlab diagnose sweep=NAME kinds=…`: measure the finished runs of a sweep from the weights they kept."""

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.config.overrides import expand
from harness.config.settings import Settings, settings_from
from harness.diagnostics.diagnose import diagnose
from harness.diagnostics.questions import Diagnosis
from harness.execution.local import at_once
from harness.ledger.diagnoses import CHECKPOINTS, VERSIONS, in_order
from harness.ledger.errors import SpecError
from harness.ledger.plan import Plan, read_plan
from harness.ledger.store import Store
from harness.planning.counted import counted
from harness.planning.plan import request_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

KEYS = ("sweep", "kinds", "checkpoint", "rows")
console = Console(highlight=False, soft_wrap=True)


def main(given: Namespace) -> int:
    """Exit code 1 when a diagnosis failed; one that cannot be, of a run without kept weights, is left out."""
    own = _own(given.overrides)
    if "sweep" not in own:
        raise SpecError("diagnose takes a sweep: peftlab diagnose sweep=quickstart kinds=generalization.")
    kinds, asked = in_order(_words(own.get("kinds", ""))) or tuple(VERSIONS), _asked(own)
    rest = [override for override in given.overrides if override.key_or_group not in KEYS]
    config = request_of(rest).config
    settings = settings_from(config)
    plan = read_plan(settings.runs, own["sweep"])
    outcomes = _diagnosed(plan, settings, config["cluster"], kinds, asked)
    if given.json:
        print(json.dumps({"sweep": plan.name, "diagnoses": [asdict(outcome) for outcome in outcomes]}, indent=2))
    else:
        _print(outcomes, plan.name, console)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def after_sweep(plan: Plan, settings: Settings, cluster: Mapping[str, Any]) -> None:
    """What the sweep's own `diagnose` names, of the runs that have ended; says so where anything was measured."""
    wanted = plan.about["diagnose"]
    asked = {key: value for key, value in wanted.items() if key != "kinds"}
    outcomes = _diagnosed(plan, settings, cluster, wanted["kinds"], _asked({}) | asked)
    if {"measured", "failed"} & {outcome.state for outcome in outcomes}:
        _print(outcomes, plan.name, Console(stderr=True, highlight=False, soft_wrap=True))


def _diagnosed(
    plan: Plan, settings: Settings, cluster: Mapping[str, Any], kinds: Sequence[str], asked: Mapping[str, Any]
) -> list[Diagnosis]:
    """All of them, with a bar while it lasts; as many processes as a sweep has here, but one where there are GPUs."""
    outcomes: list[Diagnosis] = []
    processes, threads = at_once(cluster, settings)
    with counted(f"diagnosing {plan.name}", len(plan.ids) * len(kinds)) as one_more:
        for outcome in diagnose(
            plan.ids, Store(settings.runs), settings, kinds, asked, processes=processes, threads=threads
        ):
            outcomes.append(outcome)
            one_more()
    return outcomes


def _own(overrides: "Sequence[Override]") -> dict[str, str]:
    """This verb's own words; several kinds are joined by commas."""
    own = [override for override in overrides if override.key_or_group in KEYS]
    return {o.key_or_group: ",".join(assignment.shown for assignment in expand(o)) for o in own}


def _words(text: str) -> list[str]:
    return [kind for kind in text.strip("[]").split(",") if kind]


def _asked(own: Mapping[str, str]) -> dict[str, Any]:
    """What the questions share."""
    checkpoint = own.get("checkpoint", CHECKPOINTS[0])
    if checkpoint not in CHECKPOINTS:
        raise SpecError(f"checkpoint: '{checkpoint}' is none of {', '.join(CHECKPOINTS)}.")
    if "rows" not in own:
        return {"checkpoint": checkpoint}
    if not own["rows"].isdecimal() or int(own["rows"]) < 1:
        raise SpecError(f"rows: '{own['rows']}' is no whole number of at least 1.")
    return {"checkpoint": checkpoint, "rows": int(own["rows"])}


def _print(outcomes: Sequence[Diagnosis], sweep: str, console: Console) -> None:
    counts = Counter(outcome.state for outcome in outcomes)
    if set(counts) == {"there"}:
        console.print(f"{sweep}: all {counts['there']} diagnoses are there already; nothing to do.", markup=False)
        return
    states = ", ".join(f"{counts[state]} {state}" for state in ("measured", "there", "left out", "failed"))
    console.print(f"{sweep}: {states}; peftlab report {sweep} shows them.", markup=False)
    reasons = Counter((o.state, o.kind, o.why) for o in outcomes if o.why)
    for (state, kind, why), count in reasons.items():
        ids = [o.run_id for o in outcomes if (o.state, o.kind, o.why) == (state, kind, why)]
        console.print(f"  {state}: {kind} of {count} runs ({ids[0]}{' …' * (count > 1)}): {why}", markup=False)
