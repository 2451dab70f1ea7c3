"""LoRA-Squeeze from our own records: procedures at each final rank (the form of Tables 1, 7 and 8), and what a
compressed adapter gains over one that was trained at its rank (the form of Table 6)."""

from dataclasses import dataclass

import pandas as pd

from analysis.frame import Frame
from analysis.metric import number
from analysis.procedure import PROCEDURES
from analysis.scale import scale_of
from analysis.stats.intervals import Estimate, t_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import RANGE_NOTE, estimate_of, footer, range_text, score_cell


@dataclass(frozen=True)
class SqueezeColumn:
    """A procedure as the paper's tables head it: `Direct`, `Direct +200`, `Cont +0`, `In-standard` …"""

    name: str
    runs: pd.DataFrame  # of one block and final rank


def columns_of(rows: pd.DataFrame) -> list[SqueezeColumn]:
    """The procedures among the rows of one block and final rank, in the paper's order.

    `+M` of direct training is its steps beyond the fewest that the block's direct runs of that rank have.
    """
    found = []
    for kind in PROCEDURES:
        of_kind = rows[rows["procedure"] == kind]
        fewest = of_kind["own_steps"].min()
        for label in dict.fromkeys(of_kind["label"]):
            runs = of_kind[of_kind["label"] == label]
            found.append(SqueezeColumn(_name(kind, runs.iloc[0]["own_steps"], fewest), runs))
    return found


def procedure_table(frame: Frame) -> Table | None:
    """Score of each procedure, by block and final rank; None where a sweep has no procedure but direct training."""
    if not set(frame.rows["procedure"]) - {"", "direct"}:
        return None
    cells = {
        (block, rank): columns_of(rows)
        for block in frame.blocks
        for rank, rows in _squeezed(frame.block(block)).groupby("end_rank")
    }
    names = list(dict.fromkeys(column.name for columns in cells.values() for column in columns))
    names.sort(key=_place)
    rows, data = [], []
    for (block, rank), columns in cells.items():
        by_name = {column.name: column.runs for column in columns}
        digits = frame.shown(block).digits
        shown = (score_cell(by_name[n], "shown", digits) if n in by_name else Cell("–", mark="absent") for n in names)
        rows.append((Cell(block), Cell(f"{rank:.0f}", float(str(rank))), *shown))
        for column in columns:
            mean = estimate_of(column.runs, "shown")
            data.append((block, rank, column.name, mean.mean, mean.low, mean.high, mean.n))
    heads = (Head("model / dataset"), Head("final rank"), *(Head(name) for name in names))
    frame_of = pd.DataFrame(data, columns=["block", "rank", "procedure", "mean", "lowest", "highest", "n"])
    return Table("squeeze", "Procedures of LoRA-Squeeze", heads, tuple(rows), (RANGE_NOTE, footer(frame)), frame_of)


def gains_table(frame: Frame) -> Table | None:
    """Post-Squeeze less direct training at the same rank, over common seeds; None where a sweep has no such pair."""
    rows, data = [], []
    for block in frame.blocks:
        for source, rank, found in gains(frame, block):
            digits = frame.shown(block).digits
            half = range_text(found, lambda value, digits=digits: number(value, digits))
            cell = Cell(f"{number(found.mean, digits)}{half} ({found.n})", found.mean)
            rows.append((Cell(block), Cell(f"{source:.0f} → {rank:.0f}"), cell))
            data.append((block, source, rank, found.mean, found.low, found.high, found.n))
    if not rows:
        return None
    heads = (Head("model / dataset"), Head("ranks"), Head("Post-Squeeze less direct training", "+ is better"))
    notes = ("Paired over common seeds, with the 95 % t interval; below three there is none.", footer(frame))
    names = ["block", "source_rank", "rank", "gain", "low", "high", "n"]
    return Table(
        "squeeze-gains", "What Post-Squeeze gains", heads, tuple(rows), notes, pd.DataFrame(data, columns=names)
    )


def gains(frame: Frame, block: str) -> list[tuple[float, float, Estimate]]:
    """(source rank, rank, gain) of every Post-Squeeze cell that has a direct one of its rank, higher is better."""
    rows = _squeezed(frame.block(block))
    sign, scale = 1 if frame.better(block) == "max" else -1, scale_of(frame.block(block), "shown")
    found = []
    for label in dict.fromkeys(rows.loc[rows["procedure"] == "post", "label"]):
        post = rows[rows["label"] == label]
        rank = float(post.iloc[0]["end_rank"])
        direct = rows[(rows["procedure"] == "direct") & (rows["end_rank"] == rank)]
        direct = direct[direct["own_steps"].eq(direct["own_steps"].min()) | direct["own_steps"].isna()]
        pairs = post[post["done"]].merge(direct[direct["done"]], on="seed", suffixes=("", "_direct"))
        values = (sign * (pairs["shown"] - pairs["shown_direct"])).dropna().to_numpy(float)
        if len(values):
            found.append((float(post.iloc[0]["start_rank"]), rank, t_interval(values, step=scale.step)))
    return sorted(found, key=lambda entry: entry[:2])


def _squeezed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["procedure"] != "") & rows["end_rank"].notna()]


def _name(kind: str, steps: float, fewest: float) -> str:
    if kind == "direct":
        extra = steps - fewest
        return f"Direct +{extra:.0f}" if extra > 0 else "Direct"
    if kind == "cont":
        return "Cont" if steps != steps else f"Cont +{steps:.0f}"
    return {"post": "Cont +0", "in-standard": "In-standard", "in-minimum": "In-minimum"}[kind]


def _place(name: str) -> tuple[int, float]:
    """Direct, Cont, In; each by its further steps, standard before minimum."""
    kind, _, steps = name.partition(" +")
    return ("Direct", "Cont", "In-standard", "In-minimum").index(kind), float(steps or 0)
