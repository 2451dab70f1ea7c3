"""The state of every run of a plan: files first, live jobs second. Works without a scheduler, and while it is down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.execution.jobs import LiveJob, Queue
from harness.execution.lease import is_free, look
from harness.execution.reconcile import State, scan
from harness.ledger.plan import Plan, Planned, Skipped
from harness.ledger.progress import RunProgress, progress
from harness.ledger.store import Store

Stage = Literal["done", "running", "pending", "failed", "stopped", "missing", "damaged"]
STAGES: tuple[Stage, ...] = ("done", "running", "pending", "failed", "stopped", "missing", "damaged")


@dataclass(frozen=True)
class RunRow:
    """One run. pending: in a live job; stopped: begun, and nobody is at it; missing: not begun, not queued."""

    id: str
    choices: Mapping[str, Any]
    stage: Stage
    why: str  # of a failure: its kind; of a pending run: the scheduler's reason
    message: str  # of a failure; of a missing run: what became of the job that was to do it
    progress: RunProgress | None
    where: str  # host or node, and job or process


@dataclass(frozen=True)
class Survey:
    """A sweep, as it stands now."""

    name: str
    digest: str
    rows: tuple[RunRow, ...]
    skipped: tuple[Skipped, ...]
    silent: tuple[str, ...]  # why a scheduler says nothing; () when all answer

    def count(self, stage: Stage) -> int:
        return sum(row.stage == stage for row in self.rows)

    @property
    def scheduler_answers(self) -> bool:
        return not self.silent

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for. While the scheduler is silent, what looks missing may be queued."""
        waits = {"running", "pending"} if self.scheduler_answers else {"running", "pending", "missing", "stopped"}
        return not any(row.stage in waits for row in self.rows)


def survey(plan: Plan, store: Store, queue: Queue) -> Survey:
    """Each run of the plan, by the files of the store and the live jobs of its schedulers."""
    states = scan(store, plan.ids)
    queued = {run_id: job for job in queue.jobs for run_id in job.ids}
    lost = {run_id: str(job) for job in queue.lost for run_id in job.ids}
    rows = tuple(_row(run, states[run.id], store, queued.get(run.id), lost.get(run.id, "")) for run in plan.runs)
    return Survey(plan.name, plan.digest, rows, plan.skipped, queue.silent)


def _row(run: Planned, state: State, store: Store, job: LiveJob | None, lost: str) -> RunRow:
    def row(stage: Stage, why: str = "", message: str = "", at: RunProgress | None = None, where: str = "") -> RunRow:
        return RunRow(run.id, run.choices, stage, why, message, at, where)

    if state.settled:
        return row("done") if state.status == "done" else row("failed", state.kind, state.message)
    folder = store.paths(run.id)
    if state.status != "absent" and (where := holder_of(store, run.id)):
        return row("running", at=progress(folder.events), where=where)
    if job is not None:
        return row("pending", job.reason if job.state == "PENDING" else "", where=f"job {job.job}")
    if state.status == "absent":
        return row("missing", message=lost)
    if state.status == "damaged":
        return row("damaged")
    return row("stopped", state.kind, state.message, progress(folder.events))


def holder_of(store: Store, run_id: str) -> str:
    """Where a run is being run now; "" when nobody is at it."""
    folder = store.paths(run_id).folder
    seen = look(folder)
    if seen is None or is_free(seen, folder):
        return ""
    if seen.holder is None:
        return "unknown"
    return f"{seen.holder.host}, " + (f"job {seen.holder.job}" if seen.holder.job else f"process {seen.holder.pid}")
