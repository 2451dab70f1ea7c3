"""A named sweep, as data: which cells are wanted, which are left out and why, what is set apart for some of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Exclusion:
    """Cells that are not run, and the sentence that says why."""

    where: Mapping[str, Any]  # axis -> its value, or a list of values
    because: str


@dataclass(frozen=True)
class Setting:
    """Overrides of some cells."""

    where: Mapping[str, Any]
    set: Mapping[str, Any]  # dotted key -> value


@dataclass(frozen=True)
class Tune:
    """At the end, the recipe `into` is written: `base` with the rates that validation prefers."""

    into: str
    base: str


@dataclass(frozen=True)
class AtEnd:
    """What `peftlab sweep` measures of the runs at its end, as `peftlab diagnose` would."""

    kinds: tuple[str, ...]
    rows: int | None = field(default=None, metadata={"neutral": None, "min": 1})  # of each split, at most


@dataclass(frozen=True)
class SweepSpec:
    """One sweep. A grid is the product of its lists, times the rows of its `zip`; several grids are united."""

    name: str | None  # null: the command line alone says what to run
    title: str | None
    seeds: tuple[int, ...] | None = field(metadata={"items": (1, None), "min": 0, "max": 2**63 - 1})
    grids: tuple[Mapping[str, Any], ...]
    exclude: tuple[Exclusion, ...]
    set: tuple[Setting, ...]
    control: str | None  # the method that differences are shown against
    margin: float | None = field(metadata={"min": 0})  # points below the control that still count as competitive
    tune: Tune | None
    diagnose: AtEnd | None
