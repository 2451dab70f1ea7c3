"""What was submitted, written down before it is: a job's name leads to its run ids even if the shell dies."""

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.ledger.errors import PlanError
from harness.ledger.paths import to_json, write_whole

PREFIX = "peftlab-"
# In a job's script: its id as submitit and squeue write it.
THIS_JOB = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
log = logging.getLogger("peftlab.slurm")


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
    """As it was written, without fields that only a newer version knows. Raises PlanError when it is garbage."""
    path = folder_of(runs, name) / "submission.json"
    known = {each.name for each in fields(Submission)}
    try:
        raw: dict[str, Any] = {key: value for key, value in json.loads(path.read_bytes()).items() if key in known}
        raw["tasks"] = tuple(tuple(map(_text, ids)) for ids in raw["tasks"])
        submission = Submission(**raw)
        _text(submission.plan + submission.runner + submission.snapshot)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise PlanError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(submission.cluster, dict) or not isinstance(submission.memory_gb, int):
        raise PlanError(f"{path} cannot be read (cluster or memory_gb is none)")
    return submission


def read_known(runs: Path, name: str) -> Submission | None:
    """`read_submission`; one that cannot be read is named in a warning, and None."""
    try:
        return read_submission(runs, name)
    except PlanError as error:
        log.warning("%s; it is left out", error)
        return None


def submissions(runs: Path) -> Iterator[Submission]:
    """All that were ever written down in this store and can be read, oldest first."""
    files = [path for path in (runs / "jobs").glob("*/submission.json") if path.is_file()]
    for file in sorted(files, key=lambda path: path.stat().st_mtime):
        if submission := read_known(runs, file.parent.name):
            yield submission


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
