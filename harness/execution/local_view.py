"""What a local sweep shows: a bar of all runs and one of each that is running; in a log, a line for each that ended."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.ledger.event_text import seconds_text
from harness.ledger.events import last_event
from harness.ledger.plan import Planned
from harness.ledger.progress import progress
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

MOST_ROWS = 8  # of runs that are running


class SweepView:
    """Draws on a console while it is entered. `runs`: those that are to be done, by their ids."""

    def __init__(self, runs: Mapping[str, Planned], store: Store, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(16), MofNCompleteColumn(), TimeElapsedColumn())
        # the launcher looks twice a second: to draw more often costs the runs and shows nothing new
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, refresh_per_second=2)
        self._all = self._bar.add_task("runs", total=len(runs))
        self._rows: dict[str, TaskID] = {}
        self._runs, self._store, self._ended, self._failed = runs, store, 0, 0

    def __enter__(self) -> "SweepView":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """A line above the bars."""
        self._bar.console.print(text, markup=False)

    def end(self, ids: Collection[str]) -> None:
        """Runs that have a record now: failures are named, and in a log all."""
        for record in self._store.records(sorted(ids)):
            self._failed += record.failure is not None
            if record.failure is not None or not self._bar.console.is_terminal:
                self.tell(ended_text(self._runs[record.id], record))
        self._ended += len(ids)
        for run_id in set(ids) & set(self._rows):
            self._bar.remove_task(self._rows.pop(run_id))

    def show(self, running: Collection[str], workers: int) -> None:
        """How far all are, and each of those that have begun."""
        steps = {run_id: at for run_id in running if (at := progress(self._store.paths(run_id).events)) and at.total}
        partly = sum(at.step / (at.total or 1) for at in steps.values())
        label = f"{self._ended - self._failed} done" + (f", {workers} running" if workers else "")
        label += f", {self._failed} failed" if self._failed else ""
        self._bar.update(self._all, completed=self._ended + partly, description=label)
        for run_id in sorted(steps)[:MOST_ROWS] if self._bar.console.is_terminal else ():
            if run_id not in self._rows:
                self._rows[run_id] = self._bar.add_task("")
            text, at = escape(running_text(self._runs[run_id], self._store)), steps[run_id]
            self._bar.update(self._rows[run_id], description=text, completed=at.step, total=at.total)


def ended_text(run: Planned, record: Record) -> str:
    """`done cla minilm digits seed 0: accuracy 0.912, 34 s`; of a failed run, its id, kind and message."""
    if record.failure is not None:
        return f"failed {record.id} ({record.failure.kind}): {record.failure.message.splitlines()[0]}"
    wall, score = record.seconds.get("wall"), record.scores.get("test", {}).get(_metric(run))
    words = [f"{_metric(run)} {score.value:.4g}"] if isinstance(score, Measured) else []
    words += [seconds_text(wall.value)] if isinstance(wall, Measured) else []
    return f"done {cell_text(run)}" + (f": {', '.join(words)}" if words else "")


def running_text(run: Planned, store: Store) -> str:
    """The cell, and its last score on validation where there is one."""
    score = (last_event(store.paths(run.id).events, "val") or {}).get(f"val_{_metric(run)}")
    return cell_text(run) + (f", {_metric(run)} {score:.3g}" if isinstance(score, int | float) else "")


def cell_text(run: Planned) -> str:
    """What a person typed, in short: method, model, dataset, then what else was set, and the seed."""
    choices: dict[str, Any] = dict(run.choices)
    seed = choices.pop("seed", None)
    names = [str(choices.pop(axis)) for axis in ("method", "model", "dataset") if axis in choices]
    choices.pop("recipe", None)
    rest = [f"{key}={value}" for key, value in choices.items()]
    return " ".join([*names, *rest, *([] if seed is None else [f"seed {seed}"])])


def _metric(run: Planned) -> str:
    return str(run.spec.get("dataset", {}).get("metric", "score"))
