"""One process works through a list of run ids: claim, run, release, one after the other.

Safe to start twice on the same list, here or on another node: a run that has a record is skipped, a run that another
process holds is left to it, and a record is written only while the lease is still held.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.execution.holder import this_process
from harness.execution.lease import Lease, LeaseLost, claim, heartbeat, look
from harness.ledger.errors import NodeError
from harness.ledger.paths import RunPaths, set_aside, set_misplaced_aside
from harness.ledger.plan import Plan, Planned
from harness.ledger.record import Failure, Record, failure_record
from harness.ledger.store import Store

log = logging.getLogger("peftlab.work")

POLL_SECONDS = 1.0  # between looks at a source run that another process is at

DEATHS_OF_A_RUN = 2  # a run that kills its worker this often is left alone, so that the others get their turn


@dataclass(frozen=True)
class LeasedStore(Store):
    """A store that writes only while the lease is held. Raises LeaseLost otherwise."""

    lease: Lease

    def paths(self, run_id: str) -> RunPaths:
        return LeasedPaths(super().paths(run_id).folder, self.lease)

    def write(self, record: Record) -> None:
        _require(self.lease)
        try:
            self.publish(record, lambda: _require(self.lease))
        except FileNotFoundError:  # the new holder has removed what was about to be published
            _require(self.lease)
            raise


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


Outcome = Literal["settled", "held", "later", "stopped", "done", "failed"]
# Does one run and writes its record through the store it is given; None when `stop()` asked it to end early.
RunOne = Callable[[Planned, LeasedStore], Record | None]


def work(ids: Sequence[str], plan: Plan, store: Store, run_one: RunOne, *, stop: Callable[[], bool]) -> list[str]:
    """Run what has no record yet; returns the ids that failed here, or could not be recorded.

    Ids that the plan no longer has are left out: the plan says what is wanted. A run that starts from another is done
    after it: its source is done first here, or waited for while another process is at it; a failed one fails it.
    Raises StoreMoved when the store is no longer where it was.
    """
    planned = {run.id: run for run in plan.runs}
    identity = store.identity()
    failed: list[str] = []
    waiting = list(ids)
    while waiting:
        before, later = waiting, []
        for run_id in before:
            if stop():
                return failed
            store.require(identity)
            if run_id not in planned:
                log.warning("%s is no longer in the plan '%s'; left out", run_id, plan.name)
            elif (outcome := _run(planned[run_id], planned, store, run_one)) == "later":
                later.append(run_id)
            elif outcome == "failed":
                failed.append(run_id)
        waiting = later
        if waiting:
            time.sleep(POLL_SECONDS)
    return failed


def do(planned: Planned, runs: Mapping[str, Planned], store: Store, run_one: RunOne) -> Outcome:
    """One run, unless it is settled or held elsewhere; the run of `runs` that it starts from first.

    later: another process is at its source. Raises NodeError when the machine is to blame: there is no record, and the
    same call takes the run up again. Raises LeaseLost when another process took the run over meanwhile.
    """
    if store.state(planned.id).settled:
        return "settled"
    if (source := planned.source) is None:
        return _do_alone(planned, store, run_one)
    outcome = do(runs[source], runs, store, run_one) if source in runs else "failed"
    state = store.state(source)
    if state.settled:
        return _do_alone(planned, store, run_one if state.status == "done" else _source_failed)
    if outcome == "failed":  # cut off from outside, or not in the plan
        raise NodeError(f"the run {source} that it starts from has none")
    return "later"


def _do_alone(planned: Planned, store: Store, run_one: RunOne) -> Outcome:
    try:
        lease = _claim(planned.id, store)
        return "held" if lease is None else _do_leased(planned, store, lease, run_one)
    except OSError as error:
        where = error.filename or store.root / planned.id
        raise NodeError(f"{where}: {error.strerror or error}; mend that, and the same command goes on.") from error


def _source_failed(planned: Planned, store: LeasedStore) -> Record:
    """The record of a run that starts from a failed one: it can never begin."""
    failures = [record.failure for record in store.records([planned.source or ""])]
    why = next((each.message for each in failures if each), "its record cannot be read")
    message = f"source run {planned.source} failed: {why}"
    failure = Failure("source", "setup", 0, message)
    record = failure_record(planned.id, planned.spec, failure, "its source run failed, so it did not begin")
    store.write(record)
    return record


def _run(planned: Planned, runs: Mapping[str, Planned], store: Store, run_one: RunOne) -> Outcome:
    """failed: the run failed, or has no record. A run done before, held elsewhere or stopped has not failed."""
    try:
        outcome = do(planned, runs, store, run_one)
    except LeaseLost as error:
        log.warning("%s", error)
        return "held"
    except NodeError as error:  # the next may still do
        log.error("%s has no record: %s", planned.id, error)
        return "failed"
    except Exception:  # broad: one run's trouble is one run's, whatever escaped
        log.exception("%s has no record", planned.id)
        return "failed"
    if outcome == "held":
        log.info("%s is being run by another process", planned.id)
    return outcome


def _claim(run_id: str, store: Store) -> Lease | None:
    folder = store.root / run_id
    if folder.exists() and not folder.is_dir():
        log.warning("%s is no folder; kept as %s", folder, set_aside(folder).name)
    return claim(folder)


def _do_leased(planned: Planned, store: Store, lease: Lease, run_one: RunOne) -> Outcome:
    with heartbeat(lease):
        if store.state(planned.id).settled:  # written between our look and our claim
            outcome: Outcome = "settled"
        else:
            set_damaged_aside(store, planned.id)
            set_misplaced_aside(store.paths(planned.id))
            record = run_one(planned, LeasedStore(store.root, lease))
            outcome = "stopped" if record is None else record.status
    if store.state(planned.id).settled:
        lease.remove()
    return outcome


def held_by(pid: int, ids: Sequence[str], store: Store) -> list[str]:
    """The runs that a worker of this machine holds, or held when it died."""
    here = this_process()
    seen = {run_id: look(store.paths(run_id).folder) for run_id in ids}
    return [
        i for i, s in seen.items() if s and s.beat and s.holder and (s.holder.pid, s.holder.boot) == (pid, here.boot)
    ]


def is_settled(store: Store, run_id: str) -> bool:
    """Whether a run has a record that stands. One cut off from outside does not: it goes on."""
    return store.state(run_id).settled


def set_damaged_aside(store: Store, run_id: str) -> None:
    """A record that cannot be read is kept under another name, and the run is run again."""
    if (state := store.state(run_id)).status == "damaged":
        kept = set_aside(store.root / run_id / "record.json")
        log.warning("%s; kept as %s", state.message, kept.name)


def _require(lease: Lease) -> None:
    if not lease.still_mine():
        raise LeaseLost(f"run {lease.folder.name}: another process has taken it over; what this one did is dropped")
