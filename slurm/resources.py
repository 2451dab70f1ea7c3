"""From what a run will need (`harness.planning.estimate`) to what a cluster is asked for: memory class and seconds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.execution.launcher import Machine
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from harness.planning.estimate import cell_of, estimates
from slurm.cluster_spec import SlurmCluster

START_SECONDS = 30.0  # of a job: imports, model, data
UNKNOWN_SECONDS = 60.0  # of a run that has neither a record nor FLOPs


@dataclass(frozen=True)
class Need:
    """Of one run."""

    memory_gb: int  # the class it is rounded up to
    seconds: float
    again: bool = False  # a second try, with more memory than the first


def machine_of(cluster: SlurmCluster) -> Machine:
    """What a run has to itself in a job: one GPU, or its share of the cores."""
    seconds = None if cluster.run_minutes is None else 60 * cluster.run_minutes
    return (
        Machine("cuda", 1, seconds)
        if cluster.gpus
        else Machine("cpu", max(1, cluster.cpus // cluster.at_once), seconds)
    )


def widened(cluster: SlurmCluster, processes: int) -> SlurmCluster:
    """A card whose jobs have a core, and where they have GPUs a GPU, for each of the `processes` of a run on a node."""
    least = cluster.at_once * processes // cluster.nodes
    gpus = max(cluster.gpus, least) if cluster.gpus and processes > 1 else cluster.gpus
    return replace(cluster, gpus=gpus, cpus=max(cluster.cpus, least) if processes > 1 else cluster.cpus)


def needs(
    plan: Plan, ids: Iterable[str], store: Store, cluster: SlurmCluster, cache: Path, processes: int = 1
) -> dict[str, Need]:
    """Each run's need, by the estimates that `peftlab plan` shows for this cluster. New shapes are counted.

    processes: of one run; each is taken to need the host memory of one that is alone.
    """
    wanted = frozenset(ids)
    runs = [run for run in plan.runs if run.id in wanted]
    by_cell: dict[str, Need] = {}
    for estimate in estimates(replace(plan, runs=tuple(runs)), store, cache, machine_of(cluster)):
        on_a_node = cluster.at_once * processes / cluster.nodes
        gigabytes = estimate.host_bytes * on_a_node / 1e9  # of the job: its runs share it
        seconds = estimate.wall_seconds or UNKNOWN_SECONDS
        by_cell[cell_of(estimate.choices)] = Need(_class(gigabytes, cluster.memory_gb), seconds)
    return {run.id: by_cell[cell_of(run.choices)] for run in runs}


def _class(gigabytes: float, classes: tuple[int, ...]) -> int:
    return next((size for size in classes if size >= gigabytes), classes[-1])
