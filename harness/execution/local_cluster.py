"""A cluster card of `kind: local`, as data. Never part of a run's id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class LocalCluster:
    """Worker processes on this machine."""

    kind: Literal["local"]
    name: str
    processes: int | None = field(metadata={"min": 1})  # null: one per GPU; without GPUs one per core, at most 4
    threads: int | None = field(metadata={"min": 1})  # of each process; null: the cores shared out
    about: Mapping[str, Any] = field(metadata={"science": False})
    # for `peftlab plan`, which then says on how many GPUs a run fits, and what it costs (docs/quantised.md)
    gpu_memory_gb: float | None = field(default=None, metadata={"neutral": None, "above": 0})  # GB of one GPU
    gpus_per_run: int = field(default=1, metadata={"neutral": 1, "min": 1})  # that one run may be sharded over, at most
    price_per_gpu_hour: float | None = field(default=None, metadata={"neutral": None, "min": 0})
