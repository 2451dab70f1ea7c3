"""Packs to arrays of jobs, through submitit: one array per memory class, split where MaxArraySize asks for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import Any

from harness.ledger.errors import PlanError
from slurm.begun import shell_lines
from slurm.cluster_spec import SlurmCluster
from slurm.commands import SlurmError, SlurmSilent, ask_again
from slurm.executor import Executor, find_task
from slurm.job import Job
from slurm.packing import Pack, limit_minutes
from slurm.submission import Submission, folder_of, new_name, write_submission


def max_array_size() -> int:
    """Tasks that one array may have. Raises PlanError when SLURM does not answer."""
    try:
        answer = ask_again("scontrol", "show", "config")
    except SlurmError as error:
        raise type(error)(f"SLURM does not answer (scontrol show config: {error}); nothing was submitted.") from error
    size = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    return max(1, int(size[1])) if size else 1001  # 0: no arrays, so each is one job


def split(packs: Sequence[Pack], size: int) -> list[list[Pack]]:
    """Groups of one memory class and at most `size` jobs."""

    def kind(pack: Pack) -> tuple[int, bool]:
        return pack.memory_gb, pack.again

    groups = [list(group) for _, group in groupby(sorted(packs, key=kind), key=kind)]
    return [group[i : i + size] for group in groups for i in range(0, len(group), size)]


def submit(runs: Path, group: Sequence[Pack], base: Submission, cluster: SlurmCluster, exclude: Sequence[str]) -> str:
    """Submit one array; returns its job id. Raises PlanError with SLURM's own words when it refuses,
    and SlurmSilent when it does not answer."""
    name = new_name(base.plan)
    tasks = tuple(pack.ids for pack in group)
    submission = replace(base, name=name, memory_gb=group[0].memory_gb, more_memory=group[0].again, tasks=tasks)
    write_submission(runs, submission)
    executor = executor_of(runs, group, submission, cluster, exclude, Executor)
    try:
        with executor.batch():
            jobs = [executor.submit(Job(str(runs), name, pack.ids)) for pack in group]
    except SlurmSilent as error:  # what did reach SLURM is known by its job name
        raise SlurmSilent(f"SLURM did not answer the submission ({error}); the same command again goes on.") from error
    except SlurmError as error:
        (folder_of(runs, name) / "submission.json").unlink()
        raise PlanError(f"SLURM refused the submission: {error} (see docs/slurm.md, refused)") from error
    return jobs[0].job_id.partition("_")[0]


def executor_of(
    runs: Path,
    group: Sequence[Pack],
    submission: Submission,
    cluster: SlurmCluster,
    exclude: Sequence[str],
    kind: type[Executor],
) -> Executor:
    """submitit's executor with the options and the set-up of one array."""
    folder = folder_of(runs, submission.name)
    executor = kind(folder=folder, max_num_timeout=cluster.requeues)
    minutes = limit_minutes(max(pack.seconds for pack in group), cluster)
    setup = [*shell_lines(runs, submission.name), find_task(folder), *cluster.setup, *_environment(submission.snapshot)]
    executor.update_parameters(**_options(submission, cluster, minutes, exclude), setup=setup)
    return executor


def _options(submission: Submission, cluster: SlurmCluster, minutes: int, exclude: Sequence[str]) -> dict[str, Any]:
    """sbatch options, in submitit's words."""
    wanted: Mapping[str, Any] = {
        "job_name": submission.name,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "time": minutes,
        "mem": f"{submission.memory_gb}GB",
        "nodes": cluster.nodes,
        "cpus_per_task": cluster.cpus,
        "gpus_per_node": cluster.gpus or None,
        "array_parallelism": cluster.concurrency or len(submission.tasks),
        "signal_delay_s": cluster.warn_seconds,
        "exclude": ",".join(exclude) or None,
        "srun_args": _srun_args(cluster),
        "additional_parameters": {"requeue": True} | dict(cluster.extra),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _srun_args(cluster: SlurmCluster) -> list[str]:
    """One task, on the first node: it starts what computes on the others (`slurm.spread`)."""
    args = ["--cpus-per-task", str(cluster.cpus)]  # since 22.05 srun no longer takes it from sbatch
    return args if cluster.nodes == 1 else [*args, "--nodes", "1", "--ntasks", "1"]


def _environment(snapshot: str) -> list[str]:
    """The snapshot first on the path, and the submitter's folder not on it at all."""
    return [f'export PYTHONPATH={quote(snapshot)}"${{PYTHONPATH:+:$PYTHONPATH}}"', "export PYTHONSAFEPATH=1"]
