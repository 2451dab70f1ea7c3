"""`cluster=slurm`: compare plan, records and live jobs; submit what is missing as arrays; exit. Safe to repeat.

Refuses to submit while SLURM does not answer, and while another submission from this store is under way.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.config.settings import Settings, default_cache, settings_to_plain
from harness.execution.lease import Lease, claim, heartbeat, look
from harness.execution.reconcile import Todo, reconcile, scan
from harness.execution.worker import DEFAULT_RUNNER
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from slurm.arrays import max_array_size, split, submit
from slurm.begun import black_holes
from slurm.cluster_spec import SlurmCluster
from slurm.memory import excluded_runs, triage_oom
from slurm.nodes import bad_nodes
from slurm.packing import Pack, pack
from slurm.resources import Need, needs, widened
from slurm.snapshot import snapshot
from slurm.status import live, queue
from slurm.submission import Submission

LOCK_SECONDS = 60.0
MOST_SHOWN = 20  # failed runs; status has all


@dataclass(frozen=True)
class Launched:
    """What one call did."""

    todo: Todo
    arrays: tuple[str, ...]  # SLURM job ids
    jobs: int
    runs: int  # submitted
    left: int  # runs that did not fit under the submit limit: the jobs submit them as they end
    excluded: Mapping[str, str]  # node -> why
    more_memory: tuple[str, ...]  # runs that ran out of memory and get a second try
    out_of_memory: tuple[str, ...]  # runs that ran out of memory twice: recorded as failed


def launch(plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> int:
    """Submit what is missing and say so. Exit code 0: submitted or done; 1 when all is over and a run has failed."""
    spec = parse(SlurmCluster, dict(cluster), "cluster")
    launched = start(plan, store, spec, settings_to_plain(settings))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    failed = [run_id for run_id in plan.ids if store.status(run_id) == "failed"]
    _print_submission(plan, launched, console, any_done=len(failed) < len(launched.todo.settled) == len(plan.runs))
    _print_failed(failed, plan, store, console)
    return 1 if failed and not (launched.runs or launched.todo.alive) else 0


def start(
    plan: Plan,
    store: Store,
    cluster: SlurmCluster,
    settings: Mapping[str, Any] | None,
    *,
    runner: str = DEFAULT_RUNNER,
) -> Launched:
    """Reconcile and submit, alone. Raises PlanError when SLURM does not answer or refuses; what was submitted stays."""
    processes = int((settings or {}).get("processes", 1))
    check_submission(store.root, cluster, processes)
    cluster = widened(cluster, processes)
    cache = Path(settings["cache"]) if settings else default_cache()
    open_ids = [i for i in plan.ids if store.status(i) != "done"]
    needed = needs(plan, open_ids, store, cluster, cache, processes)  # before the lock: shapes may have to be counted
    with _alone(store.root) as lock:
        live_jobs = live(store.root, patient=True)
        alive = None if live_jobs is None else [run_id for job in live_jobs for run_id in job.ids]
        states = scan(store, plan.ids)
        todo = reconcile(plan, states, alive)
        triage = triage_oom(plan, todo, states, store, cluster)
        starting = needed.keys() & set(todo.start)
        ids = [i for i in plan.ids if (i in starting or i in triage.more_memory) and i not in triage.oom_final]
        needed |= {i: Need(gigabytes, needed[i].seconds, again=True) for i, gigabytes in triage.more_memory.items()}
        after, now = cluster.bad_node_after, time.time()
        bad = bad_nodes(store.root, after, now, excluded_runs(store.root, triage))
        excluded = dict(black_holes(store.root, after, now)) | dict(bad)
        sources = {run.id: run.source for run in plan.runs if run.source}
        packs = sorted(pack(ids, needed, cluster, sources), key=lambda each: not each.again)[: _room(cluster)]
        base = Submission("", plan.name, plan.digest, 0, False, (), settings, asdict(cluster), runner, "")
        arrays = _submit(packs, store.root, base, cluster, excluded, lock)
    runs = sum(len(each.ids) for each in packs)
    more, lost = tuple(sorted(triage.more_memory)), tuple(sorted(triage.oom_final))
    return Launched(todo, arrays, len(packs), runs, len(ids) - runs, excluded, more, lost)


def check_submission(runs: Path, cluster: SlurmCluster, processes: int = 1) -> None:
    """Raises PlanError for what cannot work, before anything is submitted. processes: of one run."""
    if cluster.submit_limit == 1:
        raise PlanError("cluster.submit_limit: 1 leaves no room for the next job; at least 2, or null for no limit.")
    _check_nodes(cluster, processes)
    each = processes // cluster.nodes
    if cluster.gpus > cluster.at_once * each:
        uses = "one GPU" if each == 1 else f"{each} GPUs"
        raise PlanError(
            f"cluster.gpus: {cluster.gpus} for {cluster.at_once} run at once; a run uses {uses}"
            f"{' of a node' if cluster.nodes > 1 else ''}, so take gpus: {cluster.at_once * each}"
            + (f", or at_once: {cluster.gpus // each} (each worker then has its own)." if cluster.nodes == 1 else ".")
        )
    if cluster.limit_minutes is not None and 2 * cluster.warn_seconds > 60 * cluster.limit_minutes:
        raise PlanError(
            f"cluster.warn_seconds: {cluster.warn_seconds} is more than half of limit_minutes: "
            f"{cluster.limit_minutes}; a job would be told to save and queue again before it had done anything. "
            f"At most {30 * cluster.limit_minutes}, or a longer limit."
        )
    if os.pathsep in str(runs.absolute()):
        raise PlanError(
            f"runs={runs}: the path of a store for SLURM must hold no '{os.pathsep}': it parts the folders that Python "
            "imports from (PYTHONPATH), and jobs would run other code."
        )


def _check_nodes(cluster: SlurmCluster, processes: int) -> None:
    """Raises PlanError unless each node takes the same part of one run."""
    if processes % cluster.nodes:
        raise PlanError(
            f"cluster.nodes: {cluster.nodes} for runs of {processes} process{'es' * (processes > 1)}; each node takes "
            f"the same number, so take parallel=ddp (or fsdp) and processes={cluster.nodes} or a multiple of it, or "
            "nodes: 1."
        )
    if cluster.nodes > 1 and cluster.at_once > 1:
        raise PlanError(
            f"cluster.at_once: {cluster.at_once} with nodes: {cluster.nodes}; a job of several nodes does one run at a "
            "time, so take at_once: 1."
        )


def _submit(
    packs: list[Pack], runs: Path, base: Submission, cluster: SlurmCluster, excluded: Mapping[str, str], lock: Lease
) -> tuple[str, ...]:
    if not packs:
        return ()
    size, code = max_array_size(), str(snapshot(runs))
    nodes = (*cluster.exclude, *sorted(excluded))
    arrays = []
    for group in split(packs, size):
        if not lock.still_mine():  # it was suspended (Ctrl-Z) while it held the lock, and another submits now
            raise PlanError("another submission has begun meanwhile; what this one had not submitted is left to it.")
        arrays.append(submit(runs, group, replace(base, snapshot=code), cluster, nodes))
    return tuple(arrays)


def _room(cluster: SlurmCluster) -> int | None:
    """Jobs that may be submitted now; None: no limit."""
    if cluster.submit_limit is None:
        return None
    waiting = queue(patient=True)
    return 0 if waiting is None else max(0, cluster.submit_limit - len(waiting))


@contextmanager
def _alone(runs: Path) -> Iterator[Lease]:
    """Two submitters at once, from two shells or nodes: the second waits, then sees what the first has submitted."""
    folder = runs / "jobs" / "submitting"
    end = time.monotonic() + LOCK_SECONDS
    while (lease := claim(folder)) is None:
        if time.monotonic() > end:
            holder = (seen := look(folder)) and seen.holder
            who = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise PlanError(f"{who} is submitting runs of {runs}; try again when it is done.")
        time.sleep(0.1)
    with heartbeat(lease):
        yield lease


def _print_submission(plan: Plan, done: Launched, console: Console, *, any_done: bool) -> None:
    todo = done.todo
    submitted = f"{done.runs} submitted as {done.jobs} jobs (SLURM {', '.join(done.arrays)})"
    console.print(
        f"{plan.name}: {len(plan.runs)} runs; {len(todo.settled)} have a record, {len(todo.alive)} are in live jobs, "
        + (submitted if done.runs else "nothing was submitted")
    )
    if done.left and (done.jobs or todo.alive):
        console.print(f"{done.left} more do not fit under submit_limit; the jobs submit them as they end.")
    elif done.left:
        console.print(f"{done.left} do not fit under submit_limit beside your other jobs; try again later.")
    for run_id in done.more_memory:
        console.print(f"{run_id} ran out of memory; submitted once more with the next memory class.")
    for run_id in done.out_of_memory:
        console.print(f"{run_id} ran out of memory twice; recorded as failed(oom).")
    for node, why in done.excluded.items():
        console.print(f"node {node} is excluded: {why}.")
    if done.runs or todo.alive:
        console.print(f"follow with: peftlab status sweep={plan.name} --watch")
    elif any_done:
        console.print(f"the answer: peftlab report sweep={plan.name}")


def _print_failed(ids: Sequence[str], plan: Plan, store: Store, console: Console) -> None:
    """Name the failed runs, as the local launcher does."""
    for record in store.records(ids[:MOST_SHOWN]):
        if failure := record.failure:
            words = (failure.message.splitlines() or [""])[0]
            console.print(f"failed {record.id} ({failure.kind}): {words}", markup=False)
    if len(ids) > MOST_SHOWN:
        console.print(f"… and {len(ids) - MOST_SHOWN} more: peftlab status sweep={plan.name}")
    if ids:
        console.print(f"{len(ids)} failed; after mending: peftlab retry {plan.name}, then the same command again.")
