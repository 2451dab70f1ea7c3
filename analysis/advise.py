"""Which method under this budget? Answered from the records that are there, with the evidence and its limits; never
extrapolated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cache import read_records
from analysis.choices import planned_from_specs
from analysis.frame import Frame
from analysis.load import to_frame
from analysis.metric import number
from analysis.stats.intervals import Estimate
from analysis.table import Cell, Head, Table
from analysis.tables.cells import estimate_of, finite
from harness.ledger.errors import RecordError
from harness.ledger.plan import Plan
from harness.ledger.store import Store

FILTERS = ("task", "model", "dataset", "method")


@dataclass(frozen=True)
class Option:
    """One method in one block under the budget: its score and what it took at most over its runs."""

    block: str
    method: str
    score: Estimate
    peak_gb: float | None
    hours: float | None
    fits: bool
    why_not: str
    best: bool


def everything(runs: Path) -> Frame:
    """All readable records of a runs folder as one frame: failed ones too, environments as blocks of their own."""
    found = {record.id: record.spec for record in Store(runs).records()}
    if not found:
        raise RecordError(
            f"no record in {runs}; `peftlab sweep sweep=quickstart` makes some, --runs names another folder."
        )
    planned = planned_from_specs(found)
    plan = Plan("all records", planned, (), {"title": "All records"})
    rows, curves = read_records(runs, list(plan.ids), "all-records")
    return to_frame(plan, rows, curves, runs, partial=True, allow_mixed=True)


def advise(
    frame: Frame, wanted: Mapping[str, str], max_gb: float | None, max_hours: float | None
) -> tuple[Option, ...]:
    """Every method of the matching blocks, feasible ones first, by score. GB = 10^9 bytes; hours of wall clock.

    A cell fits when its largest run does. Raises RecordError when no block matches.
    """
    rows = frame.rows[_matches(frame.rows, wanted)]
    if rows.empty:
        known = "; ".join(
            f"{axis}: {', '.join(sorted(set(frame.rows[axis])))}" for axis in ("task", "model", "dataset")
        )
        said = " ".join(f"{k}={v}" for k, v in wanted.items())
        raise RecordError(f"no record matches {said}. There are {known}.")
    options = []
    for block in (b for b in frame.blocks if b in set(rows["block"])):
        here = [
            _option(m, runs, max_gb, max_hours) for m, runs in rows[rows["block"] == block].groupby("label", sort=False)
        ]
        up = frame.better(block) == "max"
        feasible = [o for o in here if o.fits]
        top = max(feasible, key=lambda o: o.score.mean if up else -o.score.mean, default=None)
        here.sort(key=lambda o: (not o.fits, -o.score.mean if up else o.score.mean))
        options += [Option(**vars(o) | {"best": o is top}) for o in here]
    return tuple(options)


def advice_table(frame: Frame, options: tuple[Option, ...], budget: str) -> Table:
    """The options as a table; limits of the evidence as notes."""
    rows = tuple(_row(frame, o) for o in options)
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("score"),
        Head("peak", "GB", "min"),
        Head("wall clock", "h", "min"),
        Head("advice"),
    )
    return Table(
        "advice",
        f"Methods under {budget}",
        heads,
        rows,
        (*limits(frame, options), *sentences(frame, options)),
        pd.DataFrame(as_json(options)),
    )


def sentences(frame: Frame, options: tuple[Option, ...]) -> tuple[str, ...]:
    """One sentence per block: what to take, or that nothing fits."""
    said = []
    for block in dict.fromkeys(o.block for o in options):
        here = [o for o in options if o.block == block]
        top = next((o for o in here if o.best), None)
        if top is None:
            said.append(f"{block}: nothing measured fits this budget.")
            continue
        digits = frame.shown(block).digits
        rivals = [o.method for o in here if o.fits and not o.best and _overlap(o.score, top.score)]
        close = f"; {', '.join(rivals)} {'is' if len(rivals) == 1 else 'are'} not told apart from it" if rivals else ""
        said.append(f"{block}: {top.method} ({number(top.score.mean, digits)}, {top.score.n} runs){close}.")
    return tuple(said)


def limits(frame: Frame, options: tuple[Option, ...]) -> tuple[str, ...]:
    """What this evidence cannot say."""
    blocks = {o.block for o in options}
    rows = frame.rows[frame.rows["block"].isin(blocks) & (frame.rows["status"] == "done")]
    few = sorted({o.method for o in options if 0 < o.score.n < 3})
    said = [
        f"Evidence: {len(rows)} finished runs in {len(blocks)} blocks on "
        f"{', '.join(sorted(set(rows['device']))) or 'unknown devices'}. "
        "Other models, data, batch sizes and devices need their own runs."
    ]
    if (rows["peak_kind"] == "RSS").any():
        said.append("Some peaks are resident memory of a CPU process, which is not GPU memory.")
    if few:
        said.append(f"Fewer than 3 seeds, hence no claim about the score: {', '.join(few)}.")
    return tuple(said)


def as_json(options: tuple[Option, ...]) -> list[dict[str, Any]]:
    """Plain data, null for what was not measured."""
    return [
        {
            "block": o.block,
            "method": o.method,
            "score": finite(o.score.mean),
            "low": finite(o.score.low),
            "high": finite(o.score.high),
            "n": o.score.n,
            "peak_gb": o.peak_gb,
            "hours": o.hours,
            "fits": o.fits,
            "best": o.best,
            "why_not": o.why_not,
        }
        for o in options
    ]


def _matches(rows: pd.DataFrame, wanted: Mapping[str, str]) -> pd.Series:
    keep = pd.Series(True, index=rows.index)
    for axis, value in wanted.items():
        column = rows["method_name"] if axis == "method" else rows[axis]
        keep &= column.str.startswith(value) if axis == "task" else column == value
    return keep


def _option(method: Any, runs: pd.DataFrame, max_gb: float | None, max_hours: float | None) -> Option:
    done = runs[runs["status"] == "done"]
    peak, hours = finite(done["peak_bytes"].max() / 1e9), finite(done["wall_s"].max() / 3600)
    reasons = [] if len(done) else [str(runs.iloc[0]["reason"])]
    failed = runs[runs["failure_kind"] == "oom"]
    reasons += [f"{len(failed)} runs ran out of memory"] if len(failed) else []
    reasons += (
        _over("peak memory", peak, max_gb, "GB") + _over("wall clock", hours, max_hours, "h") if len(done) else []
    )
    score = estimate_of(runs, "shown")
    reasons += ["no score"] if score.n == 0 and len(done) else []
    return Option(str(runs.iloc[0]["block"]), str(method), score, peak, hours, not reasons, "; ".join(reasons), False)


def _over(what: str, value: float | None, limit: float | None, unit: str) -> list[str]:
    if limit is None:
        return []
    if value is None:
        return [f"{what} was not measured"]
    return [f"{what} {value:.3g} {unit}"] if value > limit else []


def _overlap(a: Estimate, b: Estimate) -> bool:
    """Intervals that touch; a single run overlaps with everything, for nothing is known of its spread."""
    return not (a.low > b.high or a.high < b.low)


def _row(frame: Frame, o: Option) -> tuple[Cell, ...]:
    digits = frame.shown(o.block).digits
    half = f" ± {number(o.score.half, digits)}" if o.score.n > 1 else ""
    score = Cell(f"{number(o.score.mean, digits)}{half} ({o.score.n})", finite(o.score.mean))
    advice = (
        Cell("take this", mark="best")
        if o.best
        else Cell("fits")
        if o.fits
        else Cell("no", mark="absent", why=o.why_not)
    )
    peak = Cell("–", mark="absent") if o.peak_gb is None else Cell(f"{o.peak_gb:.3g}", o.peak_gb)
    hours = Cell("–", mark="absent") if o.hours is None else Cell(f"{o.hours:.3g}", o.hours)
    return Cell(o.block), Cell(o.method), score, peak, hours, advice
