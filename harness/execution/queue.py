"""One process works through a list of run ids: claim, run, release, one after the other.

Safe to start twice on the same list, here or on another node: a run that has a record is skipped, a run that another
process holds is left to it, and a record is written only while the lease is still held.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.execution.lease import Lease, LeaseLost, claim, heartbeat, look, this_process
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Plan, Planned
from harness.ledger.record import Failure, Record, failure_record
from harness.ledger.store import Store

log = logging.getLogger("peftlab.work")

POLL_SECONDS = 1.0  # between looks at a source run that another process is at
Ended = Literal["ok", "failed", "later"]

DEATHS_OF_A_RUN = 2  # a run that kills its worker this often is left alone, so that the others get their turn


@dataclass(frozen=True)
class LeasedStore(Store):
    """A store that writes only while the lease is held. Raises LeaseLost otherwise."""

    lease: Lease

    def paths(self, run_id: str) -> RunPaths:
        return LeasedPaths(super().paths(run_id).folder, self.lease)

    def write(self, record: Record) -> None:
        _require(self.lease)
        super().write(record)


@dataclass(frozen=True)
class LeasedPaths(RunPaths):
    """A run's folder that tells where its state lies only while the lease is held. Raises LeaseLost otherwise.

    A process that was suspended and taken over asks for its checkpoint before it writes it, and so never does.
    """

    lease: Lease

    @property
    def checkpoint(self) -> Path:
        _require(self.lease)
        return super().checkpoint

    @property
    def predictions(self) -> Path:
        _require(self.lease)
        return super().predictions

    @property
    def adapter(self) -> Path:
        _require(self.lease)
        return super().adapter


# Does one run and writes its record through the store it is given; None when `stop()` asked it to end early.
RunOne = Callable[[Planned, LeasedStore], Record | None]


def work(ids: Sequence[str], plan: Plan, store: Store, run_one: RunOne, *, stop: Callable[[], bool]) -> list[str]:
    """Run what has no record yet; returns the ids that failed here, or could not be recorded.

    Ids that the plan no longer has are left out: the plan says what is wanted. A run that starts from another is done
    after it: its source is done first here, or waited for while another process is at it; a failed one fails it.
    """
    planned = {run.id: run for run in plan.runs}
    failed: list[str] = []
    waiting = list(ids)
    while waiting:
        before, later = waiting, []
        for run_id in before:
            if stop():
                return failed
            if run_id not in planned:
                log.warning("%s is no longer in the plan '%s'; left out", run_id, plan.name)
            elif (ended := _run(planned[run_id], planned, store, run_one)) == "later":
                later.append(run_id)
            elif ended == "failed":
                failed.append(run_id)
        waiting = later
        if waiting:
            time.sleep(POLL_SECONDS)
    return failed


def _run(planned: Planned, plan: Mapping[str, Planned], store: Store, run_one: RunOne) -> Ended:
    """A run done before, held elsewhere or stopped has not failed. later: another process is at its source."""
    if is_settled(store, planned.id):
        return "ok"
    if planned.source is None or store.status(planned.source) == "done":
        return "ok" if _claim_and_run(planned, store, run_one) else "failed"
    source = plan.get(planned.source)
    ended = "failed" if source is None else _run(source, plan, store, run_one)
    if store.status(planned.source) == "done":
        return _run(planned, plan, store, run_one)
    if is_settled(store, planned.source):
        return "ok" if _claim_and_run(planned, store, _source_failed) else "failed"
    if ended == "failed":
        log.error("%s has no record: the run %s that it starts from has none", planned.id, planned.source)
        return "failed"
    return "later"


def _source_failed(planned: Planned, store: LeasedStore) -> Record:
    """The record of a run that starts from a failed one: it can never begin."""
    failures = [record.failure for record in store.records([planned.source or ""])]
    why = next((each.message for each in failures if each), "its record cannot be read")
    message = f"source run {planned.source} failed: {why}"
    failure = Failure("source", "setup", 0, message)
    record = failure_record(planned.id, planned.spec, failure, "its source run failed, so it did not begin")
    store.write(record)
    return record


def _claim_and_run(planned: Planned, store: Store, run_one: RunOne) -> bool:
    """False when the run failed."""
    try:
        lease = claim(store.paths(planned.id).folder)
        if lease is None:
            log.info("%s is being run by another process", planned.id)
            return True
        return _run_leased(planned, store, lease, run_one)
    except LeaseLost as error:
        log.warning("%s", error)
        return True
    except OSError as error:  # the disk is full, or away: the run stays unfinished, and the next may still do
        log.error("%s has no record: %s", planned.id, error)
        return False


def _run_leased(planned: Planned, store: Store, lease: Lease, run_one: RunOne) -> bool:
    with heartbeat(lease):
        if is_settled(store, planned.id):  # written between our look and our claim
            record = None
        else:
            set_damaged_aside(store, planned.id)
            record = run_one(planned, LeasedStore(store.root, lease))
    if is_settled(store, planned.id):
        lease.remove()
    return record is None or record.status == "done"


def held_by(pid: int, ids: Sequence[str], store: Store) -> list[str]:
    """The runs that a worker of this machine holds, or held when it died."""
    here = this_process()
    seen = {run_id: look(store.paths(run_id).folder) for run_id in ids}
    return [
        i for i, s in seen.items() if s and s.beat and s.holder and (s.holder.pid, s.holder.boot) == (pid, here.boot)
    ]


def is_settled(store: Store, run_id: str) -> bool:
    """Whether a run has a record that stands. One cut off from outside does not: it goes on."""
    status = store.status(run_id)
    return status == "done" or (status == "failed" and not store.may_go_on(run_id))


def set_damaged_aside(store: Store, run_id: str) -> None:
    """A record that cannot be read is kept under another name, and the run is run again."""
    if store.status(run_id) == "damaged":
        path = store.paths(run_id).record
        log.warning("%s cannot be read; kept as %s.damaged", path, path.name)
        os.replace(path, path.with_name(f"{path.name}.damaged"))


def _require(lease: Lease) -> None:
    if not lease.still_mine():
        raise LeaseLost(f"run {lease.folder.name}: another process has taken it over; what this one did is dropped")
