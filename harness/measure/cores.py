"""A process's own cores, so that several of one machine neither wander nor read memory of a far NUMA node. Linux only.

A launcher gives its number in the environment (`share_of`); the process takes its share itself (`take_share`), as only
it knows which cores it may use there. Not where there are GPUs: which core is near which of them is not asked.
Source: Documentation/admin-guide/cputopology.rst and mm/numaperf.rst of Linux.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

SHARE, PINNED = "PEFTLAB_CORES_SHARE", "PEFTLAB_CORES_PINNED"
SYSTEM = Path("/sys/devices/system")


def share_of(number: int, count: int) -> dict[str, str]:
    """The environment of process `number` of `count` that compute at the same time; empty for one alone."""
    return {SHARE: f"{number}/{count}"} if count > 1 else {}


def take_share() -> None:
    """Bind this process to its share, where it was given one and that is possible (`shares`)."""
    if (given := os.environ.pop(SHARE, None)) is None or why_not_pinned():
        return
    number, count = map(int, given.split("/"))
    own = dict(enumerate(shares(by_node(os.sched_getaffinity(0)), count))).get(number, ())
    if len(own) < int(os.environ.get("OMP_NUM_THREADS", "1")):  # fewer cores than processes, or more threads asked for
        return
    for thread in Path("/proc/self/task").iterdir():  # libraries may have started some
        os.sched_setaffinity(int(thread.name), own)
    os.environ[PINNED] = str(len(own))


def pinned() -> int | None:
    """The number of cores that this process, or the worker that started it, was bound to; None: it was not."""
    return int(os.environ[PINNED]) if PINNED in os.environ else None


def why_not_pinned() -> str | None:
    """Why no process is bound to cores here; None where it can be."""
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return "this system binds no process to cores"
    granted, allowed = os.environ.get("SLURM_CPUS_ON_NODE"), len(os.sched_getaffinity(0))
    if granted and int(granted) != allowed and pinned() is None:
        return f"SLURM gave {granted} of this node's cores and does not say which ({allowed} may be used)"
    return None


def shares(nodes: Sequence[Sequence[int]], count: int) -> list[tuple[int, ...]]:
    """Equal parts of the cores of NUMA nodes, each within a node where that is possible; none for more than cores."""
    size = sum(map(len, nodes)) // count
    if size == 0:
        return []
    parts = [tuple(node[at : at + size]) for node in nodes for at in range(0, len(node) - size + 1, size)]
    taken = {core for part in parts for core in part}
    rest = [core for node in nodes for core in node if core not in taken]
    return [*parts, *(tuple(rest[at : at + size]) for at in range(0, len(rest) - size + 1, size))][:count]


def by_node(allowed: Iterable[int], system: Path = SYSTEM) -> list[list[int]]:
    """The allowed cores of each NUMA node; the threads of one physical core are neighbours."""
    node_of = {
        core: int(file.parent.name.removeprefix("node"))
        for file in system.glob("node/node[0-9]*/cpulist")
        for core in _listed(file.read_text())
    }
    nodes: dict[int, list[int]] = {}
    for core in sorted(allowed, key=lambda core: (_first_sibling(core, system), core)):
        nodes.setdefault(node_of.get(core, 0), []).append(core)
    return [nodes[number] for number in sorted(nodes)]


def _first_sibling(core: int, system: Path) -> int:
    file = system / f"cpu/cpu{core}/topology/thread_siblings_list"
    return min(_listed(file.read_text())) if file.is_file() else core


def _listed(text: str) -> list[int]:
    """`0-3,8` is 0, 1, 2, 3, 8."""
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return [core for end in ends for core in range(int(end[0]), int(end[-1]) + 1)]
