"""Which of our jobs are live, by squeue alone: it needs no accounting, and its silence is never an empty queue."""

import os
import subprocess
from pathlib import Path

from harness.execution.jobs import LiveJob
from slurm.submission import PREFIX, Submission, folder_of, read_submission

_FORMAT = "%j|%F|%K|%T|%N|%r"  # name, array job id, array index, state, nodes, reason
_SECONDS = 60


def live(runs: Path) -> tuple[LiveJob, ...] | None:
    """Live jobs of this store; None when SLURM does not answer."""
    lines = queue()
    if lines is None:
        return None
    jobs = []
    known: dict[str, Submission] = {}
    for line in lines:
        name, number, index, state, node, reason = line.split("|", 5)
        if not name.startswith(PREFIX) or not (folder_of(runs, name) / "submission.json").is_file():
            continue  # not ours, or of another store
        if name not in known:
            known[name] = read_submission(runs, name)
        alone = not index.isdigit()  # a submission of one job is no array
        ids = known[name].tasks[0 if alone else int(index)]
        jobs.append(LiveJob(known[name].plan, number if alone else f"{number}_{index}", state, node, reason, ids))
    return tuple(jobs)


def queue() -> list[str] | None:
    """One line for each of this user's jobs and array tasks that is not over; None when SLURM does not answer."""
    try:
        # the user by number: $USER and $LOGNAME may name another, whose queue would look like an empty one
        command = ["squeue", "-h", "-r", "-u", str(os.getuid()), "-o", _FORMAT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None
