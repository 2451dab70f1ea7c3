"""The kernel's counters of who waited for a CPU: of this process's threads, and of the whole machine. Linux only.

Source: man 5 proc (schedstat, stat), Documentation/scheduler/sched-stats.rst and accounting/psi.rst of Linux.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class CpuCounters:
    """All in seconds since some fixed moment; only differences mean anything. None: this system has no such counter."""

    wall: float
    cpu: float  # that all threads of this process ran, those that have ended included
    waits: Mapping[str, float] | None  # thread id -> time on a run queue: ready, while another had the CPU
    pressure: float | None  # in which at least one task of the whole machine waited for a CPU
    busy: float | None  # of all the machine's CPUs that were not idle, `stolen` included
    stolen: float | None  # that the host of this virtual machine gave to other machines


def read_cpu_counters(proc: Path = PROC) -> CpuCounters:
    """The counters now."""
    busy, stolen = _stat(proc / "stat")
    waits = _waits(proc / "self/task")
    return CpuCounters(time.perf_counter(), time.process_time(), waits, _pressure(proc / "pressure/cpu"), busy, stolen)


def _waits(tasks: Path) -> dict[str, float] | None:
    """The second number of schedstat, in nanoseconds. A thread that ends meanwhile is left out."""
    waits: dict[str, float] = {}
    for path in tasks.glob("*/schedstat"):
        try:
            _, wait, _ = map(int, path.read_text().split())
        except (OSError, ValueError):
            continue
        waits[path.parent.name] = wait / 1e9
    return waits or None


def _pressure(path: Path) -> float | None:
    """`some … total=` in microseconds."""
    try:
        some = next(line for line in path.read_text().splitlines() if line.startswith("some"))
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, StopIteration):  # a kernel without pressure stall information
        return None


def _stat(path: Path) -> tuple[float, float] | tuple[None, None]:
    """Busy and stolen seconds, from the line of all CPUs: user nice system idle iowait irq softirq steal."""
    try:
        ticks = [int(word) for word in path.read_text().partition("\n")[0].split()[1:9]]
        user, nice, system, _, _, irq, softirq, steal = ticks
    except (OSError, ValueError):
        return None, None
    second = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq + steal) / second, steal / second
