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
