"""Runs to jobs: several runs one after the other in one allocation; imports, data and backbone are paid once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm.cluster_spec import SlurmCluster
from slurm.resources import START_SECONDS, Need


@dataclass(frozen=True)
class Pack:
    """One job: these runs, in this memory, for about so long."""

    ids: tuple[str, ...]
    memory_gb: int
    seconds: float
    again: bool  # second tries, with more memory


def pack(
    ids: Sequence[str], needs: Mapping[str, Need], cluster: SlurmCluster, sources: Mapping[str, str] | None = None
) -> list[Pack]:
    """Fill jobs in the plan's order up to `minutes` and `max_pack`; runs of one memory class share jobs.

    `sources`: run -> the run that it starts from. Both are in one job, in that order, however long it becomes.
    """
    open_packs: dict[tuple[int, bool], list[str]] = {}
    packs = []
    budget = cluster.minutes * 60.0 * cluster.at_once

    def seconds(runs: Sequence[str]) -> float:
        return sum(needs[run_id].seconds for run_id in runs)

    def close(kind: tuple[int, bool]) -> None:
        runs = open_packs.pop(kind)
        packs.append(Pack(tuple(runs), kind[0], seconds(runs) / cluster.at_once, kind[1]))

    for family in families(ids, sources or {}):
        kind = (max(needs[i].memory_gb for i in family), any(needs[i].again for i in family))
        together = [*open_packs.setdefault(kind, []), *family]
        full = len(together) > cluster.max_pack or seconds(together) > budget
        if open_packs[kind] and full:
            close(kind)
        open_packs.setdefault(kind, []).extend(family)
    for kind in list(open_packs):
        close(kind)
    return packs


def families(ids: Sequence[str], sources: Mapping[str, str]) -> list[list[str]]:
    """Runs with what they start from, as far as that is among `ids`: sources first, and in the order of first sight."""
    here = frozenset(ids)
    grown: dict[str, list[str]] = {}
    for run_id in ids:
        root = run_id
        while sources.get(root) in here:
            root = sources[root]
        grown.setdefault(root, []).append(run_id)
    return list(grown.values())


def limit_minutes(seconds: float, cluster: SlurmCluster) -> int:
    """The time limit of a job of `seconds`.

    submitit calls a warning a time-out when the job ran at least min(0.8 T, T - 10 min) (submitit#1656), so T is such
    that a job that keeps to twice its estimate is never past that point: a preemption then is one. Nor does the warning
    come before its middle.
    """
    if cluster.limit_minutes is not None:
        return cluster.limit_minutes
    longest = (START_SECONDS + 2 * seconds) / 60
    return math.ceil(max(longest / 0.8, longest + 10, cluster.warn_seconds / 30))
