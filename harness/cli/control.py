"""`peftlab retry`, `cancel` and `logs`: steer a sweep. No record is edited: a retried one is set aside."""

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from harness.cli.launchers import launcher_for, launchers_used
from harness.execution.reconcile import scan, set_record_aside
from harness.execution.sweep_state import holder_of
from harness.ledger.errors import PlanError, RecordError, SpecError, nearest
from harness.ledger.event_text import event_text
from harness.ledger.lookup import find_run, plans, sweeps
from harness.ledger.plan import plan_path, read_plan
from harness.ledger.record import FailureKind
from harness.ledger.store import Store

FOLLOW_SECONDS = 0.5


def retry(given: Namespace) -> int:
    """`peftlab retry SWEEP | RUN [--failed KIND]`: make failed runs missing, so that the next sweep does them; with
    a source run, those that failed because it did."""
    if given.failed and given.failed not in get_args(FailureKind):
        raise SpecError(f"--failed: unknown kind '{given.failed}'.{nearest(given.failed, get_args(FailureKind))}")
    store = Store(given.runs)
    key, name = given.target or ("sweep", "")
    of_sweep = key == "sweep" or plan_path(given.runs, name).is_file()  # `peftlab retry quickstart`
    ids = read_plan(given.runs, _sweep(given.runs, name)).ids if of_sweep else (find_run(store, name),)
    states = scan(store, ids)
    chosen = [i for i in ids if states[i].status == "failed" and given.failed in (None, states[i].kind)]
    chosen += _starting_from(store, chosen)
    for run_id in chosen:
        set_record_aside(store, run_id, "failed")
    if given.json:
        print(json.dumps({"retried": chosen}))
    elif chosen:
        print(f"{len(chosen)} failed runs are missing again; issue your sweep command to do them.")
    else:
        print(_nothing_failed(store, [i for i in ids if states[i].status == "done"]))
    return 0


def _nothing_failed(store: Store, done: Sequence[str]) -> str:
    """Why nothing is done again, and how a run that has a score can be."""
    if not done:
        return "no such run failed; nothing to do again."
    stay = "it stays" if len(done) == 1 else "they stay"
    return (
        f"no such run failed; {len(done)} done, and {stay}: where settings or local data changed, your command is a "
        f"new run under a new id. To do a done run again all the same, move its folder away: {store.root / done[0]}"
    )


def _starting_from(store: Store, sources: Sequence[str]) -> list[str]:
    """The runs of any plan that failed because one of these did, or one that started from it."""
    targets = {run.id: run.source for plan in plans(store.root) for run in plan.runs if run.source}
    freed = list(sources)
    states = scan(store, targets)
    for source in freed:  # grows while it is read: targets of targets
        freed += [i for i, its in targets.items() if its == source and states[i].kind == "source" and i not in freed]
    return freed[len(sources) :]


def cancel(given: Namespace) -> int:
    """`peftlab cancel SWEEP`: end its jobs and local runs. They keep their checkpoints; a new sweep goes on."""
    name, store = _sweep(given.runs, given.sweep), Store(given.runs)
    ids = frozenset(read_plan(given.runs, name).ids)
    launchers, troubles = launchers_used(given.runs)
    jobs: list[str] = []
    for launcher in launchers:
        try:
            jobs += launcher.cancel(store, name, ids)
        except PlanError as error:  # the jobs of the others are ended all the same
            troubles.append(str(error))
    pids = [int(pid) for pid in launcher_for("local").cancel(store, name, ids)]
    if given.json:
        print(json.dumps({"jobs": jobs, "processes": pids}))
    else:
        print(
            f"cancelled {len(jobs)} jobs and {len(pids)} local processes; a new sweep goes on from their checkpoints."
        )
    if troubles:
        raise PlanError(f"not all could be cancelled: {' '.join(troubles)}")
    return 0


def logs(given: Namespace) -> int:
    """`peftlab logs RUN [-f]`: its events in words, and what it printed; `-f` follows it to its end, `--json` shows
    the events as they are written. A prefix of its id will do."""
    store = Store(given.runs)
    run_id = find_run(store, given.run)
    sources = logs_of(store, run_id)
    if not sources and not given.follow:
        raise RecordError(f"run {run_id} has said nothing yet; `peftlab status` shows whether it runs.")
    read: dict[Path, int] = {}
    while given.follow and holder_of(store, run_id):
        _print_news(logs_of(store, run_id), read, given.json)
        time.sleep(FOLLOW_SECONDS)
    _print_news(logs_of(store, run_id), read, given.json)
    _print_failure(store, run_id)
    return 0


def _print_news(sources: Iterable[Path], read: dict[Path, int], raw: bool) -> None:
    """What was written since; `read` remembers how far. Events are told in words, unless the raw lines are wanted."""
    for path in sources:
        with path.open("rb") as file:
            file.seek(read.get(path, 0))
            text = file.read()
        if path.suffix == ".jsonl" and not raw:
            text = text[: text.rfind(b"\n") + 1]  # the rest of a line that is being written comes next time
        read[path] = read.get(path, 0) + len(text)
        said = text.decode(errors="replace")
        print(said if raw or path.suffix != ".jsonl" else _in_words(said), end="", flush=True)


def _in_words(lines: str) -> str:
    """Each event as a sentence; a line that is none, as it is."""
    return "".join(f"{_event(line)}\n" for line in lines.splitlines())


def _event(line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    return event_text(event) if isinstance(event, dict) else line


def _print_failure(store: Store, run_id: str) -> None:
    if store.status(run_id) == "failed" and (failure := store.read(run_id).failure):
        print(f"failed ({failure.kind}) in {failure.phase} after step {failure.step}: {failure.message}")
        print(failure.traceback, end="")


def logs_of(store: Store, run_id: str) -> list[Path]:
    """Where a run's words are: its events, what it printed, and what the launchers know of it besides."""
    folder = store.paths(run_id)
    besides = [path for launcher in launchers_used(store.root)[0] for path in launcher.logs(store, run_id)]
    of_nodes = sorted(folder.folder.glob(folder.log_of("*").name))
    return [path for path in dict.fromkeys((folder.events, folder.log, *of_nodes, *besides)) if path.is_file()]


def _sweep(runs: Path, name: str | None) -> str:
    """The sweep that was named; the only one when none was. Raises PlanError when that is not clear."""
    known = sweeps(runs)
    if name:
        return name
    if len(known) > 1:
        raise PlanError(f"which sweep? sweep=NAME with one of: {', '.join(known)}")
    return known[0]
