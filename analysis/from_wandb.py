"""A sweep's frame from W&B's public API, for whoever has no runs folder. The only file of this room that imports wandb.

The local records stay the source: W&B holds a copy of the numbers and curves without their reasons and environment, and
a frame from there says so. Refuses a project without runs of the sweep.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choices import planned_from_specs
from analysis.columns import COLUMNS
from analysis.flatten import settings
from analysis.frame import Frame
from analysis.load import to_frame
from harness.ledger.errors import PlanError, RecordError
from harness.ledger.plan import Plan, read_plan

_LEFT_OUT = "W&B holds a copy of the numbers"
_CURVES = ("id", "step", "epoch", "train_seconds", "train_loss", "lr", "val_score", "val_loss")
_POINTS = 10_000  # of a run: W&B thins out what is longer
_AT_ONCE = 8  # histories come one request a run


@dataclass(frozen=True)
class _Run:
    """One run as W&B has it: its spec, its last numbers, and one mapping for each validation point."""

    id: str
    spec: Mapping[str, Any]
    summary: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]


def from_wandb(
    sweep: str, project: str, runs: Path = Path("runs"), partial: bool = False, allow_mixed: bool = False
) -> Frame:
    """The frame of a sweep from `project` (or `entity/project`): W&B's runs of group `sweep`.

    The plan is the local one where there is one; else what W&B has is taken for what was planned, and a note says so.
    Raises RecordError when W&B cannot be asked or has no run of that sweep, and where `analysis.load` does.
    """
    fetched = {run.id: run for run in _fetch(sweep, project)}
    if not fetched:
        raise RecordError(f"W&B project {project} has no run of sweep '{sweep}'; runs are grouped by the sweep's name.")
    plan, warnings = _plan(sweep, runs, {run_id: run.spec for run_id, run in fetched.items()})
    here = [fetched[run_id] for run_id in plan.ids if run_id in fetched]
    rows = pd.DataFrame([_row(run) for run in here])
    curves = pd.DataFrame([point for run in here for point in _points(run)], columns=list(_CURVES))
    frame = to_frame(plan, rows, curves, None, partial=partial, allow_mixed=allow_mixed)
    note = f"Read from W&B project {project}: no environment, reasons or test answers come from there."
    return replace(frame, notes=(*frame.notes, note, *warnings))


def _fetch(sweep: str, project: str) -> list[_Run]:
    """Every run of the group: config and summary 200 runs a request, then each run's validation points."""
    import wandb

    try:
        runs = list(wandb.Api().runs(project, filters={"group": sweep}, per_page=200, lazy=False))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            histories = pool.map(lambda run: run.history(samples=_POINTS, pandas=False), runs)
            return [
                _Run(run.id, run.config, dict(run.summary_metrics), tuple(points))
                for run, points in zip(runs, histories, strict=True)
            ]
    except (wandb.Error, ValueError, OSError) as error:
        raise RecordError(
            f"W&B project {project}: {error}. `wandb login` signs in; WANDB_BASE_URL names a server."
        ) from error


def _plan(sweep: str, runs: Path, specs: Mapping[str, Mapping[str, Any]]) -> tuple[Plan, tuple[str, ...]]:
    try:
        return read_plan(runs, sweep), ()
    except PlanError:
        planned = planned_from_specs(specs)
        return Plan(sweep, planned, (), {}), (
            f"No local plan of sweep '{sweep}': what W&B has is taken for what was planned.",
        )


def _row(run: _Run) -> dict[str, Any]:
    """A flat row like analysis.flatten's, from the mirror's names: scores.test.accuracy is `test/accuracy` there."""
    spec, summary = run.spec, run.summary
    row: dict[str, Any] = {"id": run.id, "status": summary.get("status", "missing"), "score_unit": ""}
    failure = f"{summary.get('failure')}: {summary.get('message')}"
    row["reason"] = (
        f"failed: {failure}"
        if row["status"] == "failed"
        else ""
        if row["status"] == "done"
        else "missing: no end in W&B"
    )
    names = {c.name: _name(c.source, spec["dataset"]["metric"]) for c in COLUMNS}
    row |= {column: float(summary[name]) for column, name in names.items() if name in summary}
    row["absent"] = json.dumps(
        {column: f"{_LEFT_OUT}, and none of this" for column, name in names.items() if name not in summary}
    )
    return row | {"failure_kind": str(summary.get("failure", ""))} | settings(spec)


def _points(run: _Run) -> Iterator[dict[str, Any]]:
    """The validation points, from the mirror's names: val.accuracy is `val_accuracy` there."""
    score = f"val_{run.spec['dataset']['metric']}"
    for point in run.history:
        if score in point:
            plain = {key: point.get(key) for key in ("epoch", "train_loss", "lr", "val_loss")}
            yield plain | {"id": run.id, "step": point["_step"], "val_score": point[score]}


def _name(source: str, metric: str) -> str:
    return "/".join(source.format(metric=metric).removeprefix("scores.").split("."))
