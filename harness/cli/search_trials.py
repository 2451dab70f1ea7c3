"""The trials of a search: asked for one by one, and done here or by a launcher.

All that is known of them lies in the store. So a search may be stopped and given again at any time, and several of them
share a study.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from harness.cli.present_data import of_present_data
from harness.cli.run_live import shown_live
from harness.config.overrides import Assignment, assign
from harness.config.resolve import Resolver
from harness.config.settings import Settings
from harness.execution.jobs import note_launcher
from harness.execution.launcher import Launcher
from harness.execution.queue import do
from harness.execution.runner import run as do_run
from harness.ledger.plan import Plan, Planned
from harness.ledger.store import Store
from harness.planning.plan import PlanRequest, plan_one
from harness.planning.search.search_spec import SearchSpec
from harness.planning.search.space import Ranks, Space, Trial
from harness.planning.search.study import next_trial, planned_trials, trial_of, write_study

POLL_SECONDS = 30.0  # between looks at the records, and at the scheduler's queue
LAUNCHES = 3  # in a row that bring no record, until open trials are left as they are


@dataclass(frozen=True)
class Search:
    """name: of the study. request: of the run whose ranks are searched."""

    name: str
    spec: SearchSpec
    space: Space
    request: PlanRequest
    settings: Settings

    @property
    def store(self) -> Store:
        return Store(self.settings.runs)


def search_here(search: Search) -> list[Trial]:
    """One trial after the other in this process: those that nobody finished first. Returns all of the study."""
    busy: set[str] = set()
    while True:
        runs, trials = _present(search)
        todo = next((r for r, t in zip(runs, trials, strict=True) if t.state == "open" and t.id not in busy), None)
        if todo is None and (plan := _one_more(search, runs, trials)):
            todo = plan.runs[-1]
        if todo is None:
            write_study(search.store, search.name, search.spec, runs)
            return trials
        said = Console(stderr=True, highlight=False, soft_wrap=True)
        with shown_live(todo.id, search.store.paths(todo.id).events, said):
            outcome = do(todo, {todo.id: todo}, search.store, lambda run, leased: do_run(run, leased, search.settings))
        busy |= {todo.id} if outcome in ("held", "later") else set()


def search_by(launcher: Launcher, cluster: Mapping[str, Any], search: Search) -> list[Trial]:
    """`at_once` trials at a time, each in a job of its own; a record brings the next trial. Returns all of the study.

    A job that is lost is submitted again with the next trial; a trial that gets no record for all that stays open.
    """
    if cluster["kind"] != "local":
        note_launcher(search.settings.runs, cluster["kind"])
    left, settled = LAUNCHES, 0
    while True:
        runs, trials = _present(search)
        open_ids = {trial.id for trial in trials if trial.state == "open"}
        if len(trials) - len(open_ids) > settled:
            left, settled = LAUNCHES, len(trials) - len(open_ids)
        more = _one_more(search, runs, trials) if len(open_ids) < search.spec.at_once else None
        if more and launcher.waits:
            continue  # until there are as many as are done at once
        if not more and open_ids and not launcher.waits and _alive(launcher, search, open_ids):
            time.sleep(POLL_SECONDS)
            continue
        plan = more or write_study(search.store, search.name, search.spec, runs)
        if not more and (not open_ids or not left):
            _say_open(open_ids)
            return trials
        left -= 0 if more else 1
        launcher.launch(plan, search.store, search.settings, cluster)


def _present(search: Search) -> tuple[list[Planned], list[Trial]]:
    """All trials of the study, in the order in which they were asked for."""
    runs = planned_trials(search.store, search.name)
    return runs, [trial_of(run, search.store) for run in runs]


def _one_more(search: Search, runs: Sequence[Planned], trials: Sequence[Trial]) -> Plan | None:
    """The study with the next trial, written; None where there are enough, or no more ranks to try."""
    proposal = next_trial(search.spec, search.space, trials) if len(trials) < search.spec.trials else None
    if proposal is None:
        return None
    return write_study(search.store, search.name, search.spec, [*runs, _planned(search, *proposal)])


def _planned(search: Search, ranks: Ranks, steps: int | None) -> Planned:
    """The run of a trial: the base with its ranks."""
    words: dict[str, tuple[Assignment, ...]] = {"method.ranks": (assign("method.ranks", dict(ranks), "++"),)}
    if steps is not None:
        words["recipe.max_steps"] = (assign("recipe.max_steps", steps),)
    asked = replace(search.request, axes={**search.request.axes, **words})
    return of_present_data((plan_one(asked, Resolver()),), search.store, search.settings)[-1]


def _alive(launcher: Launcher, search: Search, ids: Collection[str]) -> bool:
    """Whether a job of these runs waits or runs; also where the scheduler does not answer."""
    jobs = launcher.live(search.settings.runs)
    return jobs is None or any(run_id in ids for job in jobs for run_id in job.ids)


def _say_open(ids: Collection[str]) -> None:
    if ids:
        some = ", ".join(sorted(ids)[:3]) + (", …" if len(ids) > 3 else "")
        print(f"{len(ids)} trials have no record ({some}): peftlab explain RUN says why.", file=sys.stderr)
