"""What was submitted, written down before it is: a job's name leads to its run ids even if the shell dies."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.ledger.paths import to_json, write_whole

PREFIX = "peftlab-"


@dataclass(frozen=True)
class Submission:
    """One array of jobs: task i works through `tasks[i]`."""

    name: str  # the SLURM job name, unique
    plan: str  # the sweep's name
    digest: str  # of its plan as it was submitted: the jobs keep to that
    memory_gb: int
    more_memory: bool  # the second try of runs that ran out of memory
    tasks: tuple[tuple[str, ...], ...]
    settings: Mapping[str, Any] | None
    cluster: Mapping[str, Any]
    runner: str
    snapshot: str  # the folder of the code that was submitted

    @property
    def address(self) -> str:
        """Where the plan is found (Plan.address)."""
        return f"{self.plan}/{self.digest}"


def new_name(plan: str) -> str:
    """A job name that no other submission has."""
    return f"{PREFIX}{plan}-{uuid.uuid4().hex[:8]}"


def folder_of(runs: Path, name: str) -> Path:
    """Where a submission's file, pickles and logs lie."""
    return runs / "jobs" / name


def write_submission(runs: Path, submission: Submission) -> None:
    folder = folder_of(runs, submission.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "submission.json", to_json(asdict(submission), indent=None))


def read_submission(runs: Path, name: str) -> Submission:
    raw = json.loads((folder_of(runs, name) / "submission.json").read_bytes())
    return Submission(**raw | {"tasks": tuple(tuple(ids) for ids in raw["tasks"])})


def submissions(runs: Path) -> Iterator[Submission]:
    """All that were ever written down in this store, oldest first."""
    files = (runs / "jobs").glob("*/submission.json")
    for file in sorted(files, key=lambda path: path.stat().st_mtime):
        yield read_submission(runs, file.parent.name)
