"""Which of our jobs are live, by squeue alone: it needs no accounting, and its silence is never an empty queue."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from harness.execution.jobs import LiveJob
from slurm.commands import SlurmError, ask, ask_again
from slurm.submission import PREFIX, Submission, folder_of, read_known

_FORMAT = "%j|%F|%K|%T|%N|%r"  # name, array job id, array index, state, nodes, reason
log = logging.getLogger("peftlab.slurm")


def live(runs: Path, *, patient: bool = False) -> tuple[LiveJob, ...] | None:
    """Live jobs of this store; None when SLURM does not answer.

    A line that makes no sense is named in a warning and left out: its runs' leases still keep others away.
    """
    lines = queue(patient=patient)
    if lines is None:
        return None
    known: dict[str, Submission | None] = {}
    jobs = (_live_job(runs, line, known) for line in lines)
    return tuple(job for job in jobs if job is not None)


def _live_job(runs: Path, line: str, known: dict[str, Submission | None]) -> LiveJob | None:
    """None: not ours, of another store, or not to be understood."""
    name, *rest = line.split("|", 5)
    if not name.startswith(PREFIX) or "/" in name or not (folder_of(runs, name) / "submission.json").is_file():
        return None
    if name not in known:
        known[name] = read_known(runs, name)
    submission = known[name]
    if submission is None:
        return None
    try:
        number, index, state, node, reason = rest
        alone = not index.isdecimal()  # a submission of one job is no array
        ids = submission.tasks[0 if alone else int(index)]
    except (ValueError, IndexError):
        log.warning("a line of squeue makes no sense and is left out: %r", line)
        return None
    return LiveJob(submission.plan, number if alone else f"{number}_{index}", state, node, reason, ids)


def queue(*, patient: bool = False) -> list[str] | None:
    """One line for each of this user's jobs and array tasks that is not over; None when SLURM does not answer.

    `patient`: while SLURM is busy it is asked a few times.
    """
    question: Callable[..., str] = ask_again if patient else ask
    try:
        # the user by number: $USER and $LOGNAME may name another, whose queue would look like an empty one
        return question("squeue", "-h", "-r", "-u", str(os.getuid()), "-o", _FORMAT).splitlines()
    except SlurmError:
        return None
