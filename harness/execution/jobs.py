"""Live jobs, as a scheduler tells of them, and which launchers a store must ask for its own.

A scheduler is asked one thing only: is an unfinished run still alive?
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LiveJob:
    """One job in the queue that was submitted for some runs of this store."""

    sweep: str  # that it was submitted for
    job: str  # as the scheduler shows it: 12, or 12_3
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


@dataclass(frozen=True)
class Queue:
    """What all schedulers of a store say of it."""

    jobs: tuple[LiveJob, ...] = ()
    silent: tuple[str, ...] = ()  # why one says nothing: "SLURM does not answer"
    lost: tuple[LostJob, ...] = ()  # oldest first; of launchers that know


def note_launcher(runs: Path, kind: str) -> None:
    """Write down, before it submits, that a launcher is used for this store."""
    folder = _noted(runs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / kind).touch()


def noted_launchers(runs: Path) -> set[str]:
    """The kinds of launchers that were used for this store, as they were noted."""
    folder = _noted(runs)
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _noted(runs: Path) -> Path:
    return runs / "jobs" / "launchers"
