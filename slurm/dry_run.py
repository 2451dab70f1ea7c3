"""`sweep --dry-run cluster=…`: what would be submitted, by the functions that submit it. No file of a job is written.

A machine without SLURM shows it too: the queue is then not known, and taken for empty.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.config.settings import Settings, settings_to_plain
from harness.execution.launcher import DryRun
from harness.execution.reconcile import reconcile, scan
from harness.execution.worker import DEFAULT_RUNNER
from harness.ledger.parse import parse
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from harness.ledger.units import format_duration
from slurm.arrays import executor_of, max_array_size, split
from slurm.begun import black_holes
from slurm.cluster_spec import SlurmCluster
from slurm.commands import SlurmError
from slurm.executor import Executor
from slurm.launch import check_submission
from slurm.nodes import bad_nodes
from slurm.packing import Pack, limit_minutes, pack
from slurm.resources import needs, widened
from slurm.status import live, queue
from slurm.submission import Submission

USUAL_ARRAY = 1001  # SLURM's own MaxArraySize, where it cannot be asked


class ScriptOnly(Executor):
    """For a script that is only looked at: submitit asks for srun before it makes one."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def dry_run(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> DryRun:
    """Arrays, packing, limits and the script of the first array. Raises PlanError for what could not be submitted."""
    card = parse(SlurmCluster, dict(cluster), "cluster")
    check_submission(store.root, card, settings.processes)
    spec = widened(card, settings.processes)
    jobs = live(store.root)
    alive = [run_id for job in jobs or () for run_id in job.ids]
    todo = reconcile(plan, scan(store, plan.ids), alive)
    sized = needs(plan, todo.start, store, spec, settings.cache, settings.processes)
    sources = {run.id: run.source for run in plan.runs if run.source}
    packs = pack([run_id for run_id in todo.start if run_id in sized], sized, spec, sources)
    now = packs[: _room(spec)]
    groups = split(now, _array_size())
    said = [
        f"{plan.name}: {len(plan.runs)} runs; {len(todo.settled)} have a record, {len(todo.alive)} are in live jobs, "
        f"{len(todo.start)} would be done by {len(packs)} jobs"
    ]
    said += [] if jobs is not None else ["SLURM does not answer here: its queue is taken for empty"]
    said += [f"{len(packs) - len(now)} jobs do not fit under submit_limit now"] if len(packs) > len(now) else []
    script = _script(groups[0], plan, store.root, settings, spec) if groups else ""
    return DryRun(tuple(said), tuple(_row(group, spec) for group in groups), script)


def _row(group: Sequence[Pack], cluster: SlurmCluster) -> dict[str, Any]:
    """One array, for a table."""
    runs = [len(each.ids) for each in group]
    return {
        "jobs": len(group),
        "runs": sum(runs),
        "runs of a job": f"{min(runs)} to {max(runs)}" if min(runs) < max(runs) else max(runs),
        "at a time": cluster.concurrency or len(group),
        "memory": f"{group[0].memory_gb} GB",
        "estimate of the longest": format_duration(max(each.seconds for each in group)),
        "time limit": f"{limit_minutes(max(each.seconds for each in group), cluster)} min",
    }


def _script(group: Sequence[Pack], plan: Plan, runs: Path, settings: Settings, cluster: SlurmCluster) -> str:
    """As sbatch would get it, but for the names that are drawn when it is submitted."""
    tasks = tuple(each.ids for each in group)
    submission = Submission(
        "peftlab-NAME", plan.name, plan.digest, group[0].memory_gb, False, tasks,
        settings_to_plain(settings), asdict(cluster), DEFAULT_RUNNER, str(runs / "snapshots" / "CODE"),
    )  # fmt: skip
    after, now = cluster.bad_node_after, time.time()
    bad = {**black_holes(runs, after, now), **bad_nodes(runs, after, now, frozenset())}
    executor = executor_of(runs, group, submission, cluster, (*cluster.exclude, *sorted(bad)), ScriptOnly)
    return executor.script(len(group))


def _array_size() -> int:
    try:
        return max_array_size()
    except SlurmError:
        return USUAL_ARRAY


def _room(cluster: SlurmCluster) -> int | None:
    if cluster.submit_limit is None:
        return None
    return max(0, cluster.submit_limit - len(queue() or ()))
