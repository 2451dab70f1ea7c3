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
from analysis.support import sweep_command, unsupported
from analysis.tables.cells import estimate_of, finite, range_text
from analysis.times import quickest_of, times_comparable
from analysis.verdict import alike, named
from harness.ledger.errors import RecordError
from harness.ledger.plan import Plan
from harness.ledger.store import Store
from harness.ledger.units import format_bytes, format_duration

FILTERS = ("task", "model", "dataset", "method")
STEADY = ("train_s", "eval_s", "checkpoint_s", "log_s")  # what every run pays; set-up is paid by whoever comes first


@dataclass(frozen=True)
class Option:
    """One method in one block under the budget: its score and what it took at most over its runs.

    `hours` are of the steady clocks (training, evaluation, checkpoints, logging); `setup_s` is paid once. `doubt` says
    why the runs are no evidence, and is empty where they are.
    """

    block: str
    method: str
    score: Estimate
    peak_gb: float | None
    hours: float | None
    fits: bool
    why_not: str
    best: bool
    lost: int = 0  # runs of the cell that gave no score
    doubt: str = ""
    setup_s: float | None = None


def everything(runs: Path) -> Frame:
    """All readable records of a runs folder as one frame: failed ones too, environments as blocks of their own."""
    records = sorted(Store(runs).records(), key=lambda record: _place(record.spec))
    specs = {record.id: record.spec for record in records}
    if not specs:
        raise RecordError(
            f"no record in {runs}; `peftlab sweep sweep=quickstart` makes some, --runs names another folder."
        )
    planned = planned_from_specs(specs)
    plan = Plan("all records", planned, (), {"title": "All records"})
    rows, curves = read_records(runs, list(plan.ids), "all-records")
    return to_frame(plan, rows, curves, runs, partial=True, allow_mixed=True)


def _place(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """Blocks by model and dataset, methods by name: an order that does not hang on ids."""
    return spec["model"]["name"], spec["dataset"]["name"], spec["method"]["name"], spec["seed"]


def advise(
    frame: Frame, wanted: Mapping[str, str], max_gb: float | None, max_hours: float | None
) -> tuple[Option, ...]:
    """Every method of the matching blocks, feasible ones first, by score. GB = 10^9 bytes; hours without set-up.

    A cell fits when its largest run does and its runs are evidence (`support.unsupported`). Raises RecordError when no
    block matches.
    """
    rows = frame.rows[_matches(frame.rows, wanted)]
    if rows.empty:
        known = "; ".join(
            f"{axis}: {', '.join(sorted(set(frame.rows[axis])))}" for axis in ("task", "model", "dataset")
        )
        words = " ".join(f"{k}={v}" for k, v in wanted.items())
        raise RecordError(f"no record matches {words}. There are {known}.")
    options = []
    for block in (b for b in frame.blocks if b in set(rows["block"])):
        here = [
            _option(frame, m, runs, max_gb, max_hours)
            for m, runs in rows[rows["block"] == block].groupby("label", sort=False)
        ]
        up = frame.better(block) == "max"
        feasible = [o for o in here if o.fits]
        top = max(feasible, key=lambda o: o.score.mean if up else -o.score.mean, default=None)
        here.sort(key=lambda o: (not o.fits, -o.score.mean if up else o.score.mean))
        options += [Option(**vars(o) | {"best": o is top}) for o in here]
    return tuple(options)


def sentences(frame: Frame, options: tuple[Option, ...]) -> tuple[str, ...]:
    """One sentence per block: what to take, what the runs do not tell from it, and which of these is the quickest."""
    return tuple(_sentence(frame, block, options) for block in dict.fromkeys(o.block for o in options))


def _sentence(frame: Frame, block: str, options: tuple[Option, ...]) -> str:
    here = {o.method: o for o in options if o.block == block and o.fits}
    top = next((o for o in here.values() if o.best), None)
    if top is None:
        return _no_advice(frame, block, [o for o in options if o.block == block])
    rivals = alike(frame, block, top.method, list(here))
    lead = f"{block}: {top.method} ({_numbers(frame, top)})"
    if not rivals:
        return f"{lead}; nothing else that fits is as good, or nothing else fits."
    quickest, why = quickest_of(frame, block, [top.method, *rivals])
    if quickest is None:
        last = f"none is called the quickest: {why}"
    elif quickest == top.method:
        last = "it is the quickest of them"
    else:
        last = f"the quickest of them is {quickest} ({_numbers(frame, here[quickest])})"
    return f"{lead}; not told apart from it: {named(list(rivals))}; {last}."


def _no_advice(frame: Frame, block: str, options: list[Option]) -> str:
    if not any(o.doubt for o in options):
        return f"{block}: nothing measured fits this budget."
    reasons = {doubt: [o.method for o in options if o.doubt == doubt] for doubt in (o.doubt for o in options) if doubt}
    why = "; ".join(f"{named(methods)}: {doubt}" for doubt, methods in reasons.items())
    rows = frame.block(block)
    lacking = rows[rows["label"].isin([o.method for o in options if o.doubt])]
    return f"{block}: no evidence ({why}), run: {sweep_command(lacking)}"


def _numbers(frame: Frame, o: Option) -> str:
    metric = frame.shown(o.block)
    seeds = range_text(o.score, lambda v: number(v, metric.digits))
    unit = f" {metric.unit}" if metric.unit else ""
    costs = [] if o.peak_gb is None else [format_bytes(1e9 * o.peak_gb)]
    costs += [] if o.hours is None else [format_duration(3600 * o.hours)]
    score = f"{metric.name} {number(o.score.mean, metric.digits)}{seeds}{unit}"
    return ", ".join([score, *costs, f"{o.score.n} run{'s' * (o.score.n > 1)}"])


def limits(frame: Frame, options: tuple[Option, ...]) -> tuple[str, ...]:
    """What this evidence cannot say."""
    blocks = {o.block for o in options}
    rows = frame.rows[frame.rows["block"].isin(blocks) & (frame.rows["status"] == "done")]
    notes = [
        f"Evidence: {len(rows)} finished runs in {len(blocks)} blocks on "
        f"{', '.join(sorted(set(rows['device']))) or 'unknown devices'}. "
        "Other models, data, batch sizes and devices need their own runs."
    ]
    if rows["train_allocated_bytes"].isna().any():
        notes.append(
            "Memory on a CPU is the exact ledger of a step and not the resident set, which earlier runs raise."
        )
    comparable, why = times_comparable(frame.rows[frame.rows["block"].isin(blocks)])
    if not comparable:
        notes.append(f"Such runs give no hours: {why}.")
    for doubt in dict.fromkeys(o.doubt for o in options if o.doubt):
        notes.append(f"No evidence, {doubt}: {named(sorted({o.method for o in options if o.doubt == doubt}))}.")
    if lost := [f"{o.method} ({o.block}) {o.lost} of {o.lost + o.score.n}" for o in options if o.lost and o.score.n]:
        notes.append(f"Runs were lost, and the score is that of the survivors: {named(lost)}.")
    return tuple(notes)


def as_json(options: tuple[Option, ...]) -> list[dict[str, Any]]:
    """Plain data, null for what was not measured."""
    return [
        {
            "block": o.block,
            "method": o.method,
            "score": finite(o.score.mean),
            "lowest": finite(o.score.low),
            "highest": finite(o.score.high),
            "n": o.score.n,
            "lost": o.lost,
            "peak_gb": o.peak_gb,
            "hours": o.hours,
            "setup_s": o.setup_s,
            "no_evidence": o.doubt,
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


def _option(frame: Frame, method: Any, runs: pd.DataFrame, max_gb: float | None, max_hours: float | None) -> Option:
    done, doubt = runs[runs["status"] == "done"], unsupported(frame, runs)
    peak, (hours, once) = finite(done["step_bytes"].max() / 1e9), _hours(done)
    reasons = [] if len(done) else [str(runs.iloc[0]["reason"])]
    reasons += [f"no evidence: {doubt}"] if len(done) and doubt else []
    failed = runs[runs["failure_kind"] == "oom"]
    reasons += [f"{len(failed)} runs ran out of memory"] if len(failed) else []
    reasons += (
        _over("peak memory", peak, max_gb, "GB") + _over("training and evaluation", hours, max_hours, "h")
        if len(done)
        else []
    )
    score = estimate_of(runs, "shown")
    reasons += ["no score"] if score.n == 0 and len(done) else []
    block, lost = str(runs.iloc[0]["block"]), len(runs) - score.n
    return Option(block, str(method), score, peak, hours, not reasons, "; ".join(reasons), False, lost, doubt, once)


def _hours(done: pd.DataFrame) -> tuple[float | None, float | None]:
    """(most hours of a run without its set-up, most seconds of set-up); None where not comparable or absent."""
    if not times_comparable(done)[0]:
        return None, None
    steady = done[list(STEADY)].sum(axis=1, min_count=len(STEADY)).max()
    return finite(steady / 3600), finite(done["worker_setup_s"].fillna(done["setup_s"]).max())


def _over(what: str, value: float | None, limit: float | None, unit: str) -> list[str]:
    if limit is None:
        return []
    if value is None:
        return [f"{what} was not measured"]
    return [f"{what} {value:.3g} {unit}"] if value > limit else []
