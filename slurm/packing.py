"""Runs to jobs: several runs one after the other in one allocation; imports, data and backbone are paid once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.ledger.cluster_spec import SlurmCluster
from slurm.resources import START_SECONDS, Need


@dataclass(frozen=True)
class Pack:
    """One job: these runs, in this memory, for about so long."""

    ids: tuple[str, ...]
    memory_gb: int
    seconds: float
    again: bool  # second tries, with more memory


def pack(ids: Sequence[str], needs: Mapping[str, Need], cluster: SlurmCluster) -> list[Pack]:
    """Fill jobs in the plan's order up to `minutes` and `max_pack`; runs of one memory class share jobs."""
    open_packs: dict[tuple[int, bool], list[str]] = {}
    packs = []
    budget = cluster.minutes * 60.0 * cluster.at_once

    def close(kind: tuple[int, bool]) -> None:
        runs = open_packs.pop(kind)
        packs.append(Pack(tuple(runs), kind[0], sum(needs[i].seconds for i in runs) / cluster.at_once, kind[1]))

    for run_id in ids:
        need = needs[run_id]
        kind = (need.memory_gb, need.again)
        current = open_packs.setdefault(kind, [])
        full = len(current) == cluster.max_pack or sum(needs[i].seconds for i in current) + need.seconds > budget
        if current and full:
            close(kind)
        open_packs.setdefault(kind, []).append(run_id)
    for kind in list(open_packs):
        close(kind)
    return packs


def limit_minutes(seconds: float, cluster: SlurmCluster) -> int:
    """The time limit of a job of `seconds`.

    submitit calls a warning a time-out when the job ran at least min(0.8 T, T - 10 min) (submitit#1656), so T is such
    that a job that keeps to twice its estimate is never past that point: a preemption then is one.
    """
    if cluster.limit_minutes is not None:
        return cluster.limit_minutes
    longest = (START_SECONDS + 2 * seconds) / 60
    return math.ceil(max(longest / 0.8, longest + 10))
