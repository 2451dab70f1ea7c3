"""`peftlab search`: ranks per kind or per layer, under a parameter budget, chosen on validation."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from harness.cli.launchers import check_card, launcher_of
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.data.hub import require
from harness.ledger.errors import SpecError
from harness.ledger.parse import parse
from harness.ledger.plan import Planned
from harness.ledger.spec import RunSpec
from harness.planning.plan import PlanRequest, plan_one, request_of
from harness.planning.search.search_spec import SearchSpec, read_search
from harness.planning.search.space import Space, Trial
from harness.planning.together import check_together

PREFIX = "search."


def main(given: Namespace) -> int:
    """Do trials until there are `search.trials`, or as many as the space has; the same command again goes on.

    Any number of these commands may run at once on one store: they share the study. With `search.at_once`, or on a
    cluster, the launcher does the trials, and the command stays until they are over. Exit code 1 when no trial is done.
    """
    own = [override for override in given.overrides if override.key_or_group.startswith(PREFIX)]
    spec = read_search(_typed(own))
    request = request_of([override for override in given.overrides if override not in own])
    settings = settings_from(request.config)
    check_card(request.config["cluster"])
    base = plan_one(request, Resolver())
    run = parse(RunSpec, base.spec, "run")
    if run.method.ranks or run.method.update.kind != "low_rank" or run.method.schedule.kind != "constant":
        raise SpecError(f"{run.method.name}: a search sets method.ranks of a plain low_rank update, as in method=lora.")
    check_together((base,), settings)
    require(run.model, run.dataset, settings.cache)
    from harness.planning.search.weights import space_of

    name, trials = _searched(request, spec, space_of(run, spec), base, settings)
    _show(name, spec, trials, as_json=given.json)
    return 0 if any(trial.state == "done" for trial in trials) else 1


def _typed(overrides: Sequence[Override]) -> dict[str, Any]:
    """The values of the overrides of the search, by key."""
    typed = {}
    for override in overrides:
        if override.is_sweep_override():
            raise SpecError(f"{override.input_line}: one search has one value; a list is written [1,2,4].")
        typed[override.key_or_group.removeprefix(PREFIX)] = override.value()
    return typed


def _searched(
    request: PlanRequest, spec: SearchSpec, space: Space, base: Planned, settings: Settings
) -> tuple[str, list[Trial]]:
    """The study's name, and its trials when the search is over."""
    try:
        from harness.cli.search_trials import Search, search_by, search_here
        from harness.planning.search.study import study_name
    except ModuleNotFoundError as error:
        raise SpecError(f"search needs {error.name}: pip install 'peftlab[search]'.") from None
    search, cluster = Search(study_name(base, spec), spec, space, request, settings), request.config["cluster"]
    if cluster["kind"] == "local" and spec.at_once == 1:
        return search.name, search_here(search)
    return search.name, search_by(launcher_of(cluster), cluster, search)


def _show(name: str, spec: SearchSpec, trials: Sequence[Trial], *, as_json: bool) -> None:
    from harness.planning.search.study import best_of

    best = best_of(trials)
    seconds = sum(trial.train_seconds for trial in trials)
    if as_json:
        fields = {"study": name, "trials": [vars(t) for t in trials], "best": best and vars(best)}
        print(json.dumps(fields | {"train_seconds": seconds}, default=dict, indent=2))
        return
    for trial in trials:
        steps = "" if trial.steps is None else f"{trial.steps:>6} steps  "
        score = trial.state if trial.score is None else f"{trial.score:.4f}"
        print(f"{trial.id}  {steps}{score:>8}  {_text(trial)}")
    print(f"{len(trials)} trials of {name} ({spec.strategy}) took {seconds:.1f} s of training in all")
    if best is not None:
        print(f"best on validation: {_text(best)}")


def _text(trial: Trial) -> str:
    return assign("method.ranks", dict(trial.ranks), "+").word
