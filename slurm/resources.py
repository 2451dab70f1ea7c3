"""From what a run will need (`harness.planning.sizing`) to what a cluster is asked for: memory class and seconds."""

from collections.abc import Iterable
from dataclasses import dataclass

from harness.ledger.plan import Plan
from harness.ledger.store import Store
from harness.planning.estimate import cell_of
from harness.planning.sizing import FLOPS, host_gigabytes, nominal_seconds, seconds_before
from slurm.cluster_spec import SlurmCluster

START_SECONDS = 30.0  # of a job: imports, model, data


@dataclass(frozen=True)
class Need:
    """Of one run."""

    memory_gb: int  # the class it is rounded up to
    seconds: float
    again: bool = False  # a second try, with more memory than the first


def needs(plan: Plan, ids: Iterable[str], store: Store, cluster: SlurmCluster) -> dict[str, Need]:
    """Each run's need; cells share their estimate, so that 10,000 runs cost as much as their cells."""
    by_id = {run.id: run for run in plan.runs}
    device = "cuda" if cluster.gpus else "cpu"
    before = {} if cluster.run_minutes else seconds_before(plan, store, device)
    rate = FLOPS[device] * (cluster.gpus or cluster.cpus)
    by_cell: dict[str, Need] = {}
    needed: dict[str, Need] = {}
    for run_id in ids:
        spec, cell = by_id[run_id].spec, cell_of(by_id[run_id].choices)
        if cell not in by_cell:
            seconds = 60 * (cluster.run_minutes or 0) or before.get(cell) or nominal_seconds(spec, rate)
            gigabytes = host_gigabytes(spec) * cluster.at_once  # of the job: its runs share it
            by_cell[cell] = Need(_class(gigabytes, cluster.memory_gb), seconds)
        needed[run_id] = by_cell[cell]
    return needed


def _class(gigabytes: float, classes: tuple[int, ...]) -> int:
    return next((size for size in classes if size >= gigabytes), classes[-1])
