"""A study: the trials of one search, and which comes next. Rebuilt from plans and records each time it is looked at.

Its trials are the runs of all plans that were ever written under its name, so that two processes that add to it at once
lose nothing. It resumes where it was, and any number of processes may work on it.
"""

import hashlib
import json
from collections.abc import Sequence
from random import Random

from harness.ledger.errors import PlanError
from harness.ledger.paths import to_json
from harness.ledger.plan import Plan, Planned, plan_path, read_plan, write_plan
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.store import Store
from harness.planning.search.search_spec import SearchSpec
from harness.planning.search.space import Ranks, Space, Trial
from harness.planning.search.strategy import KINDS

PATIENCE = 20  # answers of a strategy that were tried before, until random ranks are taken
ATTEMPTS = 1000  # answers that were tried before, until a space counts as exhausted


def study_name(base: Planned, spec: SearchSpec) -> str:
    """Equal for the same run and search, however many trials are asked for, and however many of them at once."""
    asked = {key: value for key, value in vars(spec).items() if key not in ("trials", "at_once")}
    words = f"{base.id}/{json.dumps(asked, sort_keys=True, default=list)}"
    return f"search-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def planned_trials(store: Store, name: str) -> list[Planned]:
    """In the order in which they were asked for. A plan that cannot be read is left out: others hold its trials."""
    plans = []
    for path in sorted(plan_path(store.root, name).with_suffix("").glob("*.json")):
        try:
            plans.append(read_plan(store.root, f"{name}/{path.stem}"))
        except PlanError:
            continue
    plans.sort(key=lambda plan: len(plan.runs))
    return list({run.id: run for plan in plans for run in plan.runs}.values())


def trial_of(planned: Planned, store: Store) -> Trial:
    """What a run's record says of it: of validation alone, never of test."""
    ranks, steps = planned.spec["method"]["ranks"], planned.spec["recipe"]["max_steps"]
    state = store.state(planned.id)
    if not state.settled:
        return Trial(planned.id, ranks, steps, "open")
    record = store.read(planned.id)
    spent = (_seconds(record.seconds.get("train")), _seconds(record.seconds.get("wall")))
    if record.status != "done":
        return Trial(planned.id, ranks, steps, "failed", None, *spent)
    sign = 1 if planned.spec["dataset"]["direction"] == "max" else -1
    return Trial(planned.id, ranks, steps, "done", sign * float(record.selected["value"]), *spent)


def _seconds(quantity: Quantity | None) -> float:
    return quantity.value if isinstance(quantity, Measured) else 0.0


def next_trial(spec: SearchSpec, space: Space, trials: Sequence[Trial]) -> tuple[Ranks, int | None] | None:
    """(ranks, steps) of the next trial; None when every proposal was tried before."""
    if (promoted := promotion(spec, trials)) is not None:
        return promoted
    steps = spec.rungs[0] if spec.rungs else None
    tried = {_key(trial.ranks) for trial in trials}
    for attempt in range(ATTEMPTS):
        rng = Random(f"{spec.seed}/{len(trials)}/{attempt}")
        ranks = space.within(_asked(spec, space, trials, rng) if attempt < PATIENCE else space.drawn(rng))
        if _key(ranks) not in tried:
            return ranks, steps
    return None


def _asked(spec: SearchSpec, space: Space, trials: Sequence[Trial], rng: Random) -> Ranks:
    strategy = KINDS[spec.strategy](space, rng)
    for trial in trials:
        strategy.tell(trial)
    return strategy.ask()


def promotion(spec: SearchSpec, trials: Sequence[Trial]) -> tuple[Ranks, int] | None:
    """Ranks that are among the best 1 in `keep` of their rung and were not tried on the next one, the highest first."""
    for steps, more in reversed(list(zip(spec.rungs, spec.rungs[1:], strict=False))):
        done = sorted((t for t in trials if t.steps == steps and t.score is not None), key=lambda t: -(t.score or 0.0))
        above = {_key(trial.ranks) for trial in trials if trial.steps == more}
        for trial in done[: len(done) // spec.keep]:
            if _key(trial.ranks) not in above:
                return trial.ranks, more
    return None


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The best of those with the most steps; of equal ones the first."""
    done = [trial for trial in trials if trial.score is not None]
    return max(done, key=lambda trial: (trial.steps or 0, trial.score), default=None)


def write_study(store: Store, name: str, spec: SearchSpec, runs: Sequence[Planned]) -> Plan:
    """The plan that holds these trials, for `status`, `report` and the next look; what all trials took stands in it."""
    trials = [trial_of(run, store) for run in runs]
    best = best_of(trials)
    search = json.loads(to_json(vars(spec))) | {
        "best": best and best.id,
        "train_seconds": sum(trial.train_seconds for trial in trials),
        "wall_seconds": sum(trial.wall_seconds for trial in trials),
    }
    about = {"title": f"Search for ranks by {spec.strategy}", "control": None, "margin": None, "tune": None}
    plan = Plan(name, tuple(runs), (), about | {"search": search})
    write_plan(store.root, plan)
    return plan


def _key(ranks: Ranks) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(ranks.items()))
