"""A process that holds a lease, as others can recognise it. Standard library only."""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process, known well enough to say later whether it is gone."""

    host: str
    boot: str  # boot id and pid namespace: only where they are equal does a pid mean anything
    pid: int
    started: str  # the process's start in clock ticks since boot: pids are used again
    job: str  # SLURM job id, as squeue shows it: 12_3 in an array; "" elsewhere
    restart: int  # how often SLURM has started that job again
    nonce: str


def this_process() -> Holder:
    """This process, as its leases name it."""
    pid = os.getpid()
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    restart = os.environ.get("SLURM_RESTART_COUNT", "")
    return Holder(
        socket.gethostname(),
        _boot(),
        pid,
        _started(pid),
        job,
        int(restart) if restart.isdecimal() else 0,
        uuid.uuid4().hex,
    )


def process_lives(holder: Holder) -> bool:
    """Whether that very process runs on this machine (a zombie does not)."""
    return _started(holder.pid) == holder.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:  # no /proc: only the heartbeat decides
        return ""


def _started(pid: int) -> str:
    """Clock ticks from boot to the process's start; "" when there is none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
