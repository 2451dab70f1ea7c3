"""Launchers by the `kind` of a cluster card: two are built in, others come by the entry point group peftlab.launchers.

The one file of this room that names the slurm room, so that a laptop needs none of it.
"""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.execution.jobs import LiveJob, LostJob, Queue, noted_launchers
from harness.execution.launcher import NAMES, KnowsLost, KnowsMachine, Launcher, Machine, ReadsCard
from harness.ledger.errors import SpecError, nearest

GROUP = "peftlab.launchers"
# The same two are declared in pyproject.toml; an installation may be older than this file.
NAME = re.compile(r"[a-z][a-z0-9_-]*")  # a kind is a file name in the stores that use it
USUAL_CARD = "slurm"  # the cluster that a new one starts from
BUILT_IN = {"local": "harness.execution.local", "slurm": "slurm.launcher"}


def known_launchers() -> dict[str, EntryPoint]:
    """Kind -> where its launcher is. A package cannot take the name of a built-in one."""
    return {point.name: point for point in entry_points(group=GROUP)} | _built_in()


def _built_in() -> dict[str, EntryPoint]:
    return {kind: EntryPoint(kind, module, GROUP) for kind, module in BUILT_IN.items()}


def launcher_of(cluster: Mapping[str, Any]) -> Launcher:
    """The launcher that a cluster card asks for. Raises SpecError when there is none."""
    return launcher_for(str(cluster.get("kind")))


def check_card(cluster: Mapping[str, Any]) -> None:
    """Raises SpecError for an unknown launcher, and for a wrong card where its launcher reads it ahead."""
    launcher = launcher_of(cluster)
    if isinstance(launcher, ReadsCard):
        launcher.read_card(cluster)


def machine_of(cluster: Mapping[str, Any]) -> Machine | None:
    """What the runs of this card will be done on; None where its launcher cannot say."""
    launcher = launcher_of(cluster)
    return launcher.machine(cluster) if isinstance(launcher, KnowsMachine) else None


def launcher_for(kind: str) -> Launcher:
    """The launcher of this kind, imported now. Raises SpecError when it is unknown, or cannot be imported."""
    known = _built_in() if kind in BUILT_IN else known_launchers()  # which reads a file of every package
    if kind not in known:
        raise SpecError(f"cluster.kind: no launcher '{kind}'.{nearest(kind, known)}")
    if not NAME.fullmatch(kind):
        naming = "small letters, digits, - and _, a letter first"
        raise SpecError(f"{_whose(known[kind])} has a name that is none: {naming}.{_others(kind)}")
    try:
        launcher = known[kind].load()
    except Exception as error:  # broad: it is another's module, and may raise anything while it is imported
        raise SpecError(f"{_whose(known[kind])} cannot be imported: {error}.{_others(kind)}") from error
    if lacking := [name for name in NAMES if not hasattr(launcher, name)]:
        raise SpecError(f"{_whose(known[kind])} lacks {', '.join(lacking)}.{_others(kind)}")
    return launcher


def _whose(point: EntryPoint) -> str:
    return f"cluster.kind: the launcher '{point.name}' ({point.value})"


def _others(kind: str) -> str:
    return f" Others: {', '.join(sorted(set(known_launchers()) - {kind}))}."


def kinds_used(runs: Path) -> list[str]:
    """The kinds whose jobs this store may have; none for a store that only this machine has worked on."""
    kinds = noted_launchers(runs)
    if any((runs / "jobs").glob("*/submission.json")):  # of a store from before launchers were noted
        kinds.add("slurm")
    return sorted(kinds)


def launchers_used(runs: Path) -> tuple[list[Launcher], list[str]]:
    """The launchers of those kinds; and why there is none, where a package is gone."""
    launchers, gone = [], []
    for kind in kinds_used(runs):
        try:
            launchers.append(launcher_for(kind))
        except SpecError as error:
            gone.append(str(error).rstrip("."))
    return launchers, gone


def queue_of(runs: Path) -> Queue:
    """Live jobs of this store, from every scheduler that was used for it."""
    launchers, silent = launchers_used(runs)
    jobs: list[LiveJob] = []
    lost: list[LostJob] = []
    for launcher in launchers:
        live = launcher.live(runs)
        lost += launcher.lost(runs) if isinstance(launcher, KnowsLost) else ()
        jobs += live or ()
        silent += [f"{launcher.name} does not answer"] if live is None else []
    return Queue(tuple(jobs), tuple(silent), tuple(lost))
