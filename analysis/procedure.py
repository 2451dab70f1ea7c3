"""Which procedure of LoRA-Squeeze a planned run is, read from its spec: its kind, the rank it ends with, its steps."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

# in reading order; `direct` is any low-rank method that keeps its rank
PROCEDURES = ("direct", "post", "cont", "in-standard", "in-minimum")
_GIVEN = (
    "low_rank",
    "columns",
    "ba_sparse",
    "nested",
    "orthogonal",
    "full",
    "head",
    "peft",
)  # updates of the rank that their spec says


def procedure(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`procedure` (one of PROCEDURES, or ""), `start_rank`, `end_rank`, `own_steps` (recipe.max_steps) and
    `source_steps` (those of the run that it starts from); NaN where a spec says none."""
    update, schedule = spec["method"]["update"], spec["method"]["schedule"]
    rank = update.get("rank")
    facts = {"procedure": "", "start_rank": _number(rank), "end_rank": _number(rank)}
    if update.get("kind") == "low_rank" and isinstance(rank, int) and not spec["method"].get("ranks"):
        facts |= _of_schedule(schedule, rank)
    before = (spec.get("source") or {}).get("recipe") or {}
    steps = {"own_steps": spec["recipe"].get("max_steps"), "source_steps": before.get("max_steps")}
    return facts | {name: _number(value) for name, value in steps.items()}


def only_source(rows: pd.DataFrame) -> pd.Series:
    """Which planned runs are there for others alone: direct ones that a run starts from, shorter than every direct run
    of their block that nobody starts from."""
    direct, is_source = rows["procedure"] == "direct", rows["id"].isin(set(rows["source"]) - {""})
    shortest = rows[direct & ~is_source].groupby("block")["own_steps"].min()
    return direct & is_source & (rows["own_steps"] < rows["block"].map(shortest))


def learns_ranks(spec: Mapping[str, Any]) -> bool:
    """Whether a run's weights may end with ranks that its spec does not say."""
    return spec["method"]["update"].get("kind") not in _GIVEN


def _of_schedule(schedule: Mapping[str, Any], rank: int) -> dict[str, Any]:
    kind = schedule.get("kind")
    if kind == "constant":
        return {"procedure": "direct"}
    if kind == "in_squeeze":
        last = (schedule.get("ranks") or [1])[-1]
        return {"procedure": "in-minimum" if schedule.get("minimum") else "in-standard", "end_rank": _number(last)}
    if kind == "post_squeeze":
        return {"procedure": "cont" if schedule.get("trains") else "post", "end_rank": _number(schedule.get("rank"))}
    return {}


def _number(value: Any) -> float:
    """As a float; NaN for what is no number, such as null."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
