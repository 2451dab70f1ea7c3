"""A cluster card of `kind: slurm`, as data. Never part of a run's id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class SlurmCluster:
    """One array of jobs per resource class; each job works through a list of run ids."""

    kind: Literal["slurm"]
    name: str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    gpus: int = field(metadata={"min": 0})  # of a job, on each of its nodes; 0: the runs compute on CPUs
    cpus: int = field(metadata={"min": 1})  # of a job, on each of its nodes
    memory_gb: tuple[int, ...] = field(
        metadata={"items": (1, None), "min": 1, "ascending": True}
    )  # host memory classes, ascending; a run that ran out of memory once gets the next one
    minutes: int = field(metadata={"min": 1})  # a job is packed with runs up to about this long
    run_minutes: float | None = field(
        metadata={"above": 0}
    )  # of one run; null: from earlier records of the same cell, else from the cards
    limit_minutes: int | None = field(
        metadata={"min": 1}
    )  # time limit of a job; null: from the estimate, see slurm/packing.py
    max_pack: int = field(metadata={"min": 1})  # runs of a job, at most
    at_once: int = field(
        metadata={"min": 1}
    )  # runs that share a job's resources at the same time; above 1 their timings are marked not comparable
    concurrency: int | None = field(metadata={"min": 1})  # jobs of an array that run at the same time
    submit_limit: int | None = field(
        metadata={"min": 2}
    )  # 2 or more jobs in the queue at any time; the jobs submit what is left
    warn_seconds: int = field(
        metadata={"min": 1}
    )  # between SLURM's warning and the end of a job: the time there is for a checkpoint
    requeues: int = field(metadata={"min": 0})  # time limits a job may run into before it is left unfinished
    bad_node_after: int = field(
        metadata={"min": 1}
    )  # workers that died on a node within a day before it is excluded (and named)
    exclude: tuple[str, ...]  # nodes never used
    setup: tuple[str, ...]  # shell lines at the start of a job: module load, export
    extra: Mapping[str, Any]  # further sbatch options by their long names: {nice: 100}
    about: Mapping[str, Any] = field(metadata={"science": False})
    # for `peftlab plan`, which then says on how many GPUs a run fits, and what it costs (docs/quantised.md)
    gpu_memory_gb: float | None = field(default=None, metadata={"neutral": None, "above": 0})  # GB of one GPU
    gpus_per_run: int = field(default=1, metadata={"neutral": 1, "min": 1})  # that one run may be sharded over, at most
    price_per_gpu_hour: float | None = field(default=None, metadata={"neutral": None, "min": 0})
    nodes: int = field(
        default=1, metadata={"neutral": 1, "min": 1}
    )  # of a job: its run's processes are spread over them
