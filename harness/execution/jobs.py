"""Live jobs, as a scheduler tells of them. The scheduler is asked one thing only: is an unfinished run still alive?"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class LiveJob:
    """One job in the queue that was submitted for some runs of this store."""

    sweep: str  # that it was submitted for
    job: str  # as squeue shows it: 12, or 12_3
    state: str  # RUNNING, PENDING, REQUEUED, …
    node: str  # "" while it waits
    reason: str  # why it waits, in the scheduler's word
    ids: tuple[str, ...]


@dataclass(frozen=True)
class LostJob:
    """A job that ended before it did any of its runs."""

    job: str
    node: str
    ids: tuple[str, ...]
    words: str  # the last that it said
    logs: tuple[Path, ...]

    def __str__(self) -> str:
        return f"job {self.job} on {self.node} ended before it did a run: {self.words}"


def live_jobs(runs: Path) -> tuple[LiveJob, ...] | None:
    """Live jobs of this store; () when none was ever submitted; None when the scheduler does not answer.

    The slurm room is found by name and only where something was submitted, so that a laptop needs none of it.
    """
    if not (runs / "jobs").is_dir():
        return ()
    return import_module("slurm.status").live(runs)


def cancel_jobs(jobs: Sequence[str]) -> None:
    """End live jobs. Raises PlanError with the scheduler's words."""
    import_module("slurm.commands").scancel(jobs)


def lost_jobs(runs: Path) -> tuple[LostJob, ...]:
    """Jobs of this store that ended before they did any run, oldest first."""
    return import_module("slurm.begun").lost(runs) if (runs / "jobs").is_dir() else ()
