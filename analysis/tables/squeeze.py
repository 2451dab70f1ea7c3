"""LoRA-Squeeze from our own records: procedures at each final rank (the form of Tables 1, 7 and 8), and what a
compressed adapter gains over one that was trained at its rank (the form of Table 6)."""

from dataclasses import dataclass

import pandas as pd

from analysis.chosen import preferred
from analysis.frame import Frame
from analysis.metric import number
from analysis.scale import scale_of
from analysis.stats.intervals import Estimate, t_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import RANGE_NOTE, estimate_of, footer, range_text, score_cell

_NAMES = {"direct": "Direct", "post": "Cont", "cont": "Cont", "in-standard": "In-standard", "in-minimum": "In-minimum"}
STEPS_NOTE = (
    "Steps of a run that starts from a run: its source's + its own. +M: own steps after the compression, and of direct "
    "training beyond the fewest of direct runs that are nobody's source."
)


@dataclass(frozen=True)
class SqueezeColumn:
    """A procedure as the paper's tables head it: `Direct`, `Direct +200`, `Cont +0`, `In-standard` …

    Where a block has it from several source ranks or in several variants at one final rank, the name says which.
    """

    name: str
    steps: str  # optimizer steps, a source's before its own; empty where a recipe does not say
    place: tuple[int, float, str]  # in the paper's order
    runs: pd.DataFrame  # of one block and final rank; of several settings of the recipe those that validation prefers


def columns_of(block: pd.DataFrame, rank: float, better: str) -> list[SqueezeColumn]:
    """The procedures of a block's rows that end at a rank, in the paper's order. better: which score is, max or min."""
    rows = squeezed(block)
    rows = rows[rows["end_rank"] == rank]
    base = float(block.loc[(block["procedure"] == "direct") & ~block["only_source"], "own_steps"].min())
    columns = []
    for (kind, steps, *_), runs in rows.groupby(["procedure", "own_steps", "start_rank", "variant"], dropna=False):
        chosen = runs[runs["label"] == preferred(runs, better)]
        name = _name(str(kind), float(steps), base) + _which(chosen.iloc[0], rows[rows["procedure"] == kind])
        place = list(_NAMES).index(str(kind)), float(steps) if steps == steps else 0.0, name
        columns.append(SqueezeColumn(name, _steps(chosen.iloc[0]), place, chosen))
    return sorted(columns, key=lambda column: column.place)


def procedure_table(frame: Frame) -> Table | None:
    """Score of each procedure, by block and final rank; None where a sweep has no procedure but direct training."""
    if not set(frame.rows["procedure"]) - {"", "direct"}:
        return None
    cells = {
        (block, float(rank)): columns_of(frame.block(block), float(rank), frame.better(block))
        for block in frame.blocks
        for rank in sorted(squeezed(frame.block(block))["end_rank"].unique())
    }
    every = [column for columns in cells.values() for column in columns]
    names = [column.name for column in sorted(every, key=lambda column: column.place)]
    steps = {name: {column.steps for column in every if column.name == name} for name in names}
    rows, data = [], []
    for (block, rank), columns in cells.items():
        by_name = {column.name: column.runs for column in columns}
        digits = frame.shown(block).digits
        shown = (score_cell(by_name[n], "shown", digits) if n in by_name else Cell("–", mark="absent") for n in steps)
        rows.append((Cell(block), Cell(f"{rank:.0f}", float(str(rank))), *shown))
        for column in columns:
            mean = estimate_of(column.runs, "shown")
            data.append((block, rank, column.name, mean.mean, mean.low, mean.high, mean.n))
    of_names = (Head(name, next(iter(stated)) if len(stated) == 1 else "") for name, stated in steps.items())
    heads = (Head("model / dataset"), Head("final rank"), *of_names)
    frame_of = pd.DataFrame(data, columns=["block", "rank", "procedure", "mean", "lowest", "highest", "n"])
    return Table(
        "squeeze", "Procedures of LoRA-Squeeze", heads, tuple(rows), (STEPS_NOTE, RANGE_NOTE, footer(frame)), frame_of
    )


def gains_table(frame: Frame) -> Table | None:
    """Post-Squeeze less direct training at the same rank, over common seeds; None where a sweep has no such pair."""
    rows, data = [], []
    for block in frame.blocks:
        for source, rank, gain in gains(frame, block):
            digits = frame.shown(block).digits
            half = range_text(gain, lambda value, digits=digits: number(value, digits))
            cell = Cell(f"{number(gain.mean, digits)}{half} ({gain.n})", gain.mean)
            rows.append((Cell(block), Cell(f"{source:.0f} → {rank:.0f}"), cell))
            data.append((block, source, rank, gain.mean, gain.low, gain.high, gain.n))
    if not rows:
        return None
    heads = (Head("model / dataset"), Head("ranks"), Head("Post-Squeeze less direct training", "+ is better"))
    notes = ("Paired over common seeds, with the t interval, at least 95 %; below three there is none.", footer(frame))
    names = ["block", "source_rank", "rank", "gain", "low", "high", "n"]
    return Table(
        "squeeze-gains", "What Post-Squeeze gains", heads, tuple(rows), notes, pd.DataFrame(data, columns=names)
    )


def gains(frame: Frame, block: str) -> list[tuple[float, float, Estimate]]:
    """(source rank, rank, gain) of every Post-Squeeze cell that has a direct one of its rank, higher is better."""
    rows = frame.block(block)
    sign, scale = 1 if frame.better(block) == "max" else -1, scale_of(rows, "shown")
    gained = []
    for rank in squeezed(rows).loc[lambda r: r["procedure"] == "post", "end_rank"].unique():
        columns = columns_of(rows, float(rank), frame.better(block))
        direct = [column.runs for column in columns if column.place[0] == 0][:1]
        for post in (column.runs for column in columns if column.runs.iloc[0]["procedure"] == "post" and direct):
            pairs = post[post["done"]].merge(direct[0][direct[0]["done"]], on="seed", suffixes=("", "_direct"))
            values = (sign * (pairs["shown"] - pairs["shown_direct"])).dropna().to_numpy(float)
            if len(values):
                gained.append((float(post.iloc[0]["start_rank"]), float(rank), t_interval(values, step=scale.step)))
    return sorted(gained, key=lambda entry: entry[:2])


def squeezed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that are a procedure: none that only others start from."""
    return rows[(rows["procedure"] != "") & rows["end_rank"].notna() & ~rows["only_source"]]


def _name(kind: str, steps: float, base: float) -> str:
    if kind == "direct" and not steps > base:
        return "Direct"
    more = {"direct": steps - base, "post": 0.0, "cont": steps}.get(kind, float("nan"))
    return f"{_NAMES[kind]} +{more:.0f}" if more == more else _NAMES[kind]


def _which(run: pd.Series, alike: pd.DataFrame) -> str:
    """What tells a run from others of its procedure and final rank: the rank it came from, its variant."""
    several = run["procedure"] != "direct" and alike["start_rank"].nunique() > 1
    source = f" from {run['start_rank']:.0f}" if several else ""
    return source + (f", {run['variant']}" if alike["variant"].nunique() > 1 else "")


def _steps(run: pd.Series) -> str:
    own, before = run["own_steps"], run["source_steps"]
    if own != own or (run["source"] and before != before):
        return ""
    return f"{before:,.0f} + {own:,.0f} steps" if run["source"] else f"{own:,.0f} steps"
