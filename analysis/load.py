"""A plan and its records as one tidy frame.

Refuses an incomplete sweep, mixed environments, and settings that differ within one comparison, unless asked for them.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cache import read_records
from analysis.columns import COLUMNS, LEDGER
from analysis.frame import Frame, ordered
from analysis.matched import differing
from analysis.metric import shown
from analysis.planned import planned_rows
from harness.ledger.errors import RecordError
from harness.ledger.plan import Plan, read_plan


def load(sweep: str, runs: Path | str = Path("runs"), partial: bool = False, allow_mixed: bool = False) -> Frame:
    """The frame of a sweep.

    Raises PlanError when there is no such plan, RecordError when planned runs have no record (`partial` shows them as
    missing), when records come from several environments or when a setting differs within one comparison
    (`allow_mixed` makes the environment part of the block, and names the setting in a note).
    """
    runs = Path(runs)
    plan = read_plan(runs, sweep)
    found, curves = read_records(runs, list(plan.ids), sweep)
    return to_frame(plan, found, curves, runs, partial=partial, allow_mixed=allow_mixed)


def to_frame(
    plan: Plan, found: pd.DataFrame, curves: pd.DataFrame, runs: Path | None, *, partial: bool, allow_mixed: bool
) -> Frame:
    """Plan and flat records joined; see `load`. `runs` is the folder they are from, None where there is none."""
    rows = _joined(planned_rows(plan), found)
    notes = [*_check_complete(rows, partial)]
    if mixed := _check_environment(rows, allow_mixed):
        rows["block"] += " @ " + rows["fingerprint"].where(rows["fingerprint"] != "", "no record").str[:8]
    notes += [*mixed, *_check_settings(rows, allow_mixed)]
    rows = _derived(rows)
    methods, blocks = tuple(dict.fromkeys(rows["label"])), tuple(dict.fromkeys(rows["block"]))
    rows = _compact(ordered(rows, blocks, methods))
    return Frame(plan.name, rows, curves, methods, blocks, plan.about, plan.digest, tuple(notes), runs)


def _compact(rows: pd.DataFrame) -> pd.DataFrame:
    """Equal texts share one Python string, and columns one memory block: taking cells out is 50 times quicker then."""
    for name in rows.columns[[pd.api.types.is_string_dtype(kind) for kind in rows.dtypes]]:
        codes, texts = pd.factorize(rows[name], use_na_sentinel=False)
        rows[name] = pd.Series(np.asarray(texts, dtype=object)[codes], index=rows.index, dtype=object)
    return rows.copy()


def _joined(planned: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    rows = planned.merge(found, on="id", how="left", suffixes=("", "_found"))
    skipped = rows["skip"] != ""
    absent = "missing: no record yet; `peftlab status` says whether it runs"
    rows["status"] = (
        rows["status"].where(rows["status"].notna(), np.where(skipped, "skipped", "missing"))
        if "status" in rows
        else (np.where(skipped, "skipped", "missing"))
    )
    reason = rows["reason"] if "reason" in rows else pd.Series(None, index=rows.index, dtype=object)
    rows["reason"] = reason.where(reason.notna(), np.where(skipped, "skipped: " + rows["skip"], absent))
    for name in (c.name for c in COLUMNS if c.name not in rows):
        rows[name] = np.nan
    rows[[c.name for c in COLUMNS]] = rows[[c.name for c in COLUMNS]].astype(float)
    for name in (
        "absent",
        "fingerprint",
        "commit",
        "host",
        "device",
        "packages",
        "split",
        "knobs",
        "rates",
        "failure_kind",
        "score_unit",
    ):
        rows[name] = rows[name].fillna("") if name in rows else ""
    for name in ("lr", "head_lr"):
        rows[name] = rows[name].astype(float) if name in rows else np.nan
    return rows.drop(columns=["skip"])


def _check_complete(rows: pd.DataFrame, partial: bool) -> list[str]:
    holes = rows[rows["status"].isin(["missing", "damaged"])]
    if holes.empty:
        return []
    planned = int((rows["status"] != "skipped").sum())
    said = f"{len(holes)} of {planned} planned runs have no readable record"
    unreadable = holes.loc[holes["status"] == "damaged", "reason"]
    said += f" ({len(unreadable)} cannot be read: {unreadable.iloc[0]})" if len(unreadable) else ""
    if not partial:
        first = ", ".join(f"{r.label} {r.block} seed {r.seed}" for r in holes.head(3).itertuples())
        raise RecordError(
            f"{said} (first: {first}). Run the sweep again to fill them, or pass --partial to see the holes."
        )
    return [f"Incomplete: {said}; tables show them as missing."]


def _check_environment(rows: pd.DataFrame, allow_mixed: bool) -> list[str]:
    seen = sorted(set(rows.loc[rows["status"] == "done", "fingerprint"]))
    if len(seen) <= 1:
        return []
    if not allow_mixed:
        raise RecordError(
            f"the records come from {len(seen)} environments "
            f"({', '.join(s[:8] or 'none' for s in seen)}); drift between "
            "environments exceeds many gaps between methods. Pass --allow-mixed to keep them apart as blocks."
        )
    return [f"{len(seen)} environments: each is a block of its own, and none is pooled with another."]


def _check_settings(rows: pd.DataFrame, allow_mixed: bool) -> list[str]:
    found = list(differing(rows))
    if not found:
        return []
    more = f"; and {len(found) - 2} more (`peftlab audit`)" if len(found) > 2 else ""
    said = "; ".join(f"{one.block}: {one}" for one in found[:2]) + more
    if not allow_mixed:
        raise RecordError(
            f"settings differ within one comparison ({said}). Run them alike, or pass --allow-mixed to compare them "
            "all the same, with a note."
        )
    return [f"Settings differ within one comparison: {said}."]


def _derived(rows: pd.DataFrame) -> pd.DataFrame:
    """The declared derived columns, and `shown`: the score as tables print it."""
    on_gpu = rows["train_allocated_bytes"].notna()
    factors = {key: shown(*key).factor for key in set(zip(rows["metric"], rows["score_unit"], strict=True))}
    factor = np.array([factors[key] for key in zip(rows["metric"], rows["score_unit"], strict=True)])
    rows["peak_bytes"] = rows["train_allocated_bytes"].where(on_gpu, rows["train_rss_bytes"])
    rows["peak_kind"] = np.where(on_gpu, "allocated", "RSS")
    ledger = rows[list(LEDGER)].sum(axis=1, min_count=len(LEDGER))
    rows["step_bytes"] = rows["train_allocated_bytes"].where(on_gpu, ledger)
    rows["gap"] = rows["test_loss"] - rows["train_loss"]
    rows["gap_abs"] = rows["gap"].abs()
    rows["shown"] = rows["score"] * factor
    rows["done"] = rows["status"] == "done"
    return rows
