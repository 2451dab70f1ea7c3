"""A plan and its records as one tidy frame.

Refuses an incomplete sweep, mixed environments, and settings that differ within one comparison, unless asked for them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cache import read_records
from analysis.checks.finding import Finding
from analysis.checks.proofs import prove
from analysis.columns import COLUMNS, LEDGER
from analysis.frame import Frame, ordered
from analysis.matched import DATA, differing
from analysis.metric import shown
from analysis.planned import planned_rows
from harness.ledger.errors import RecordError
from harness.ledger.plan import Plan, read_plan, union


def load(
    sweep: str | Sequence[str], runs: Path | str = Path("runs"), partial: bool = False, allow_mixed: bool = False
) -> Frame:
    """The frame of a sweep, or of several as if they were one: a run that is in two of them is there once.

    Raises PlanError when there is no such plan, RecordError when planned runs have no record (`partial` shows them as
    missing), when records come from several environments or when a setting differs within one comparison
    (`allow_mixed` makes the environment part of the block, and names the setting in a note).
    """
    runs = Path(runs)
    plan = union([read_plan(runs, name) for name in ([sweep] if isinstance(sweep, str) else sweep)])
    records, curves = read_records(runs, list(plan.ids), plan.name)
    return to_frame(plan, records, curves, runs, partial=partial, allow_mixed=allow_mixed)


def to_frame(
    plan: Plan, records: pd.DataFrame, curves: pd.DataFrame, runs: Path | None, *, partial: bool, allow_mixed: bool
) -> Frame:
    """Plan and flat records joined; see `load`. `runs` is the folder they are from, None where there is none."""
    proofs = () if runs is None else prove(runs, list(plan.ids), plan.name)
    records, curves = _believed(records, curves, proofs)
    rows = _joined(planned_rows(plan), records)
    notes = [*_check_complete(rows, partial), *_unproved(proofs, rows)]
    if mixed := _check_environment(rows, allow_mixed):
        rows["block"] += " @ " + rows["fingerprint"].where(rows["fingerprint"] != "", "no record").str[:8]
    notes += [*mixed, *_check_settings(rows, allow_mixed)]
    rows = _derived(rows)
    methods, blocks = tuple(dict.fromkeys(rows["label"])), tuple(dict.fromkeys(rows["block"]))
    rows = _compact(ordered(rows, blocks, methods))
    frame = Frame(plan.name, rows, curves, methods, blocks, plan.about, plan.digest, tuple(notes), runs)
    frame.kept["proofs"] = proofs
    return frame


def _believed(
    records: pd.DataFrame, curves: pd.DataFrame, proofs: tuple[Finding, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records and curves without the numbers of those that cannot be true: they are damaged, with the reason."""
    why = {run: finding.what for finding in reversed(proofs) if finding.level == "refuted" for run in finding.runs}
    if not why or records.empty:
        return records, curves
    refuted = records["id"].isin(why) & (records["status"] != "damaged")
    blank = pd.DataFrame({"id": records.loc[refuted, "id"], "status": "damaged", "absent": "{}"})
    blank["reason"] = "damaged: the record cannot be true: " + blank["id"].map(why)
    return pd.concat([records[~refuted], blank], ignore_index=True), curves[~curves["id"].isin(why)]


def _unproved(proofs: tuple[Finding, ...], rows: pd.DataFrame) -> list[str]:
    """What tables say of records whose proof is missing."""
    bare = {run for finding in proofs if finding.level == "unproved" for run in finding.runs}
    bare &= set(rows.loc[rows["status"] == "done", "id"])
    if not bare:
        return []
    first = next(f.what for f in proofs if f.level == "unproved" and bare & set(f.runs))
    return [f"Not proved: {len(bare)} records lack evidence (first: {first}); `peftlab audit` lists them."]


def _compact(rows: pd.DataFrame) -> pd.DataFrame:
    """Equal texts share one Python string, and columns one memory block: taking cells out is 50 times quicker then."""
    for name in rows.columns[[pd.api.types.is_string_dtype(kind) for kind in rows.dtypes]]:
        codes, texts = pd.factorize(rows[name], use_na_sentinel=False)
        rows[name] = pd.Series(np.asarray(texts, dtype=object)[codes], index=rows.index, dtype=object)
    return rows.copy()


def _joined(planned: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    rows = planned.merge(records, on="id", how="left", suffixes=("", "_record"))
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
    damaged = holes[holes["status"] == "damaged"]
    text = f"{len(holes)} of {planned} planned runs have no {'believable' if len(damaged) else 'readable'} record"
    if partial:
        return [f"Incomplete: {text}; tables show them as {' or '.join(sorted(set(holes['status'])))}."]
    first = ", ".join(f"{r.label} {r.block} seed {r.seed}" for r in holes.head(3).itertuples())
    if len(damaged):
        run = damaged.iloc[0]
        raise RecordError(
            f"{text} (first: {first}; run {run['id']} is {run['reason']}). `peftlab audit` lists all that is wrong. "
            "Delete the folders of damaged runs and run the sweep again, or pass --partial to see them as holes."
        )
    raise RecordError(f"{text} (first: {first}). Run the sweep again to fill them, or pass --partial to see the holes.")


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
    knobs = list(differing(rows))
    if not knobs:
        return []
    more = f"; and {len(knobs) - 2} more (`peftlab audit`)" if len(knobs) > 2 else ""
    text = "; ".join(f"{knob.block}: {knob}" for knob in knobs[:2]) + more
    if not allow_mixed:
        alike = "Run them alike"
        if any(knob.knob == DATA for knob in knobs):
            alike += " (the same sweep command does those anew whose local data changed, and keeps the old records)"
        raise RecordError(
            f"settings differ within one comparison ({text}). {alike}, or pass --allow-mixed to compare them "
            "all the same, with a note."
        )
    return [f"Settings differ within one comparison: {text}."]


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
