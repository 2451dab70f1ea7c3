"""SLURM's commands, asked in one way: a clean environment, a bound on the wait, and further tries where SLURM is busy.

Inside an allocation, and on a login node whose profile sets SBATCH_* or SQUEUE_*, such variables would change what is
submitted or shown. SLURM_CONF (which cluster) and SLURM_JWT (who asks) are kept.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.ledger.errors import PlanError

SECONDS = 60.0  # for a question
SUBMIT_SECONDS = 120.0  # sbatch itself tries again for a while
WAITS = (1.0, 4.0, 15.0)  # seconds between tries
_DROPPED = re.compile(r"(SLURM|SBATCH|SQUEUE|SCANCEL|SCONTROL|SRUN|SALLOC|SUBMITIT)(D?)_")
_KEPT = ("SLURM_CONF", "SLURM_JWT")
_BUSY = re.compile(
    r"timed out|temporarily|unable to contact|connection (refused|reset)|communication|standby mode|zero bytes"
    r"|not connected|try again|not responding",
    re.IGNORECASE,
)


class SlurmError(PlanError):
    """A command of SLURM failed; its words are the message."""


class SlurmSilent(SlurmError):
    """SLURM did not answer in time, or not in its own words: whether it did what was asked is not known."""


class SlurmBusy(SlurmSilent):
    """SLURM says that it cannot answer now; a further try may do."""


def clean_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`env` without what a surrounding job or a profile tells SLURM's commands."""
    return {name: value for name, value in env.items() if name in _KEPT or not _DROPPED.match(name)}


def ask(*command: str, seconds: float = SECONDS) -> str:
    """What the command prints. Raises SlurmSilent when it takes too long, SlurmBusy, or SlurmError."""
    try:
        done = subprocess.run(
            command,
            env=clean_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmSilent(f"{command[0]} did not answer within {seconds:g} s") from error
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    words = (done.stderr.strip() or done.stdout.strip() or f"{command[0]} ended with {done.returncode}").splitlines()[
        -1
    ]
    raise (SlurmBusy if _BUSY.search(words) else SlurmError)(words)


def ask_again(*command: str) -> str:
    """`ask` for what may be asked twice: as long as SLURM is busy, after each of WAITS once more."""
    for wait in WAITS:
        try:
            return ask(*command)
        except SlurmBusy:
            time.sleep(wait)
    return ask(*command)


def sbatch(script: Path, name: str) -> str:
    """Submit a script whose jobs are called `name`, as nothing else is; returns the job id.

    A submission that went unanswered may have reached SLURM, so the queue is asked for `name` before the next try.
    Raises SlurmError; SlurmSilent when it is not known whether it was submitted.
    """
    for wait in (*WAITS, None):
        try:
            return _job_id(ask("sbatch", str(script), seconds=SUBMIT_SECONDS))
        except SlurmSilent as error:
            if number := _submitted(name):
                return number
            if wait is None or not isinstance(error, SlurmBusy):
                raise
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _submitted(name: str) -> str:
    """The id of the job that is called so; "" when there is none."""
    try:
        numbers = ask_again("squeue", "-h", "-u", str(os.getuid()), "-n", name, "-o", "%F").split()
    except SlurmError as error:
        raise SlurmSilent(f"neither sbatch nor squeue answers: {error}") from error
    return numbers[0] if numbers else ""


def _job_id(answer: str) -> str:
    """Of `Submitted batch job 12`."""
    number = re.search(r"job (\d+)", answer)
    if number is None:
        raise SlurmSilent(f"sbatch answered '{answer.strip()[:200]}', which names no job")
    return number[1]


def scancel(jobs: Sequence[str]) -> None:
    """End these jobs. Raises PlanError with SLURM's words."""
    try:
        ask_again("scancel", *jobs)
    except SlurmError as error:
        raise PlanError(f"scancel did not cancel the jobs ({error}); try again: {' '.join(jobs)}") from error
