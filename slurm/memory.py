"""Runs that ran out of memory: once more in the next memory class, by rule; twice is a record.

A job that SLURM kills for its memory leaves no record. Its log does tell, with or without accounting.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.execution.lease import look
from harness.execution.reconcile import State, Todo, set_record_aside
from harness.ledger.plan import Plan
from harness.ledger.record import Failure, failure_record
from harness.ledger.store import Store
from slurm.cluster_spec import SlurmCluster
from slurm.submission import Submission, read_known, submissions

# slurmstepd's words: by polling (OverMemoryKill), and by the kernel through cgroups.
_KILLED = re.compile(r"exceeded (?:job )?memory limit|Exceeded job memory|oom.kill event|Out Of Memory|OUT_OF_MEMORY")


@dataclass(frozen=True)
class OomTriage:
    """What becomes of the runs that ran out of memory."""

    more_memory: Mapping[str, int]  # run id -> GB of its second try
    oom_final: frozenset[str]  # were killed in their second try, or in the largest class: recorded as failed(oom) now


def triage_oom(plan: Plan, todo: Todo, states: Mapping[str, State], store: Store, cluster: SlurmCluster) -> OomTriage:
    """Sets aside the record of a run that gets its second try, and writes that of one that was killed twice."""
    recorded_ids = {i for i in todo.settled if states[i].kind == "oom" and "CUDA" not in states[i].message}
    killed = {i: _killed_in(store, i) for i in todo.start if states[i].status == "unfinished"}
    more: dict[str, int] = {}
    oom_final = set()
    for run_id, submission in (killed | _last_submissions(store.root, recorded_ids)).items():
        if submission is None:
            continue
        recorded = run_id in recorded_ids
        larger = next((size for size in cluster.memory_gb if size > submission.memory_gb), None)
        if larger and not submission.more_memory:
            more[run_id] = larger
            if recorded:
                set_record_aside(store, run_id, "oom")
        elif not recorded:
            oom_final.add(run_id)
            _write_failure(plan, run_id, store, submission)
    return OomTriage(more, frozenset(oom_final))


def _last_submissions(runs: Path, ids: set[str]) -> dict[str, Submission]:
    if not ids:
        return {}
    return {run_id: each for each in submissions(runs) for task in each.tasks for run_id in task if run_id in ids}


def excluded_runs(runs: Path, triage: OomTriage) -> frozenset[str]:
    """Runs that ran out of memory, now or in an earlier try: no fault of their nodes."""
    earlier = {i for each in submissions(runs) if each.more_memory for ids in each.tasks for i in ids}
    return triage.oom_final | triage.more_memory.keys() | earlier


def _killed_in(store: Store, run_id: str) -> Submission | None:
    """The submission whose job held the run and was killed for its memory. A run that ended by itself let go."""
    seen = look(store.paths(run_id).folder)
    if seen is None or seen.holder is None or not seen.holder.job or seen.beat == 0:
        return None
    for log in (store.root / "jobs").glob(f"*/{seen.holder.job}_0_log.err"):
        if _KILLED.search(log.read_text(errors="replace")):
            return read_known(store.root, log.parent.name)
    return None


def _write_failure(plan: Plan, run_id: str, store: Store, submission: Submission) -> None:
    planned = next(run for run in plan.runs if run.id == run_id)
    message = f"SLURM killed the job for its memory ({submission.memory_gb} GB), twice or in the largest class"
    failure = Failure("oom", "train", 0, message)
    store.write(failure_record(run_id, planned.spec, failure, "the job was killed"))
