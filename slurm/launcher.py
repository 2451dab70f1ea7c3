"""SLURM as a launcher (`harness.execution.launcher`): the room's functions under the names that harness asks for."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.settings import Settings
from harness.execution.command import answer
from harness.execution.launcher import CheckResult, DryRun, Machine
from harness.execution.lease import look
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from slurm.begun import lost
from slurm.cluster_spec import SlurmCluster
from slurm.commands import scancel
from slurm.resources import machine_of
from slurm.status import live

__all__ = ["cancel", "check", "dry_run", "launch", "live", "logs", "lost", "machine", "name", "read_card", "waits"]

name = "SLURM"
waits = False


def read_card(cluster: Mapping[str, Any]) -> SlurmCluster:
    """The parsed card. Raises SpecError for one that is none of its."""
    return parse(SlurmCluster, {"about": {}} | dict(cluster), "cluster")


def machine(cluster: Mapping[str, Any]) -> Machine:
    """What a run has to itself in a job of this card."""
    return machine_of(read_card(cluster))


def launch(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> int:
    """Submit what is missing and say so (`slurm.launch`). Exit code 0: submitted, or nothing to do."""
    from slurm import launch as submission  # only here: `status` and `logs` do without submitit

    return submission.launch(plan, store, settings, cluster)


def dry_run(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> DryRun:
    """What `launch` would submit (`slurm.dry_run`)."""
    from slurm import dry_run as shown

    return shown.dry_run(plan, store, settings, cluster)


def cancel(store: Store, sweep: str, ids: frozenset[str]) -> tuple[str, ...]:
    """End the sweep's jobs; their ids. Raises PlanError when SLURM does not answer or refuses."""
    queue = live(store.root)
    if queue is None:
        raise PlanError("SLURM does not answer; no job of its was cancelled. Try again when squeue works.")
    jobs = tuple(job.job for job in queue if job.sweep == sweep)
    if jobs:
        scancel(jobs)
    return jobs


def logs(store: Store, run_id: str) -> list[Path]:
    """What SLURM and the workers said in the job that is, or was, at the run, and in those that died before it."""
    lease = look(store.paths(run_id).folder)
    job = lease.holder.job if lease and lease.holder else ""
    of_job = sorted((store.root / "jobs").glob(f"*/{job}_0_log.err")) if job else []
    return [*of_job, *(path for each in lost(store.root) if run_id in each.ids for path in each.logs)]


def check(cluster: Mapping[str, Any] | None) -> list[CheckResult]:
    """Whether SLURM answers here, and its partitions. Raises SpecError for a card that is none."""
    if needed := cluster is not None:
        read_card(cluster)
    ok = False if needed else None
    if shutil.which("sinfo") is None:
        return [CheckResult(name, "not installed", ok, "use cluster=local" if needed else "")]
    partitions = answer("sinfo", "--noheader", "--format=%P")
    if partitions is None:
        todo = "ask its administrators, or use cluster=local" if needed else ""
        return [CheckResult(name, "installed, and does not answer", ok, todo)]
    return [CheckResult(name, f"answers; partitions: {', '.join(dict.fromkeys(partitions.split()))}", True)]
