"""LoRA-Squeeze's Tables 1, 6, 7 and 8 as printed, with ours beside: full-size Gemma 3, the same tasks and ranks."""

import pandas as pd

from analysis.frame import Frame
from analysis.metric import number
from analysis.published import key, published
from analysis.stats.intervals import Estimate
from analysis.table import Cell, Head, Table
from analysis.tables.cells import estimate_of, footer, range_text
from analysis.tables.squeeze import columns_of, gains

TABLES = ("squeeze1", "squeeze6", "squeeze7", "squeeze8")
_AVERAGE = "Average"
_ALSO = {  # the keys of our models and datasets, by name or label -> those of the paper's
    "gemma34b": "gemma34bit",
    "gemma34bvl": "gemma34bit",
    "gemma31b": "gemma31bit",
    "winograndel": "wngl",
    "pawschoice": "paws",
    "pawscandidates": "paws",
    "openbookqachoice": "openbookqa",
    "openbookqacandidates": "openbookqa",
    "arceasy": "arce",
    "arcchallenge": "arcc",
    "socialiqa": "siqa",
}
NOTE = "printed / ours. The paper's values are single numbers without spread; – is a value that is not known here."
NONE = "No run of this sweep is of the paper's model at full size, tasks and ranks: there are no values of ours."


def squeeze_table(frame: Frame, which: str) -> Table:
    """`which` of TABLES: a row per task, a column per procedure, each cell `printed / ours`."""
    theirs = published(which)
    ours = _ours(frame, which)
    tasks, names = list(dict.fromkeys(theirs["dataset"])), list(dict.fromkeys(theirs["method"]))
    printed = {(row.dataset, row.method): float(row.value) for row in theirs.itertuples(index=False)}  # type: ignore[arg-type]
    averages = {name: _average(ours, printed, name) for name in names}
    rows, data = [], []
    for task in tasks:
        measured = {name: averages[name] if task == _AVERAGE else ours.get((key(task), name)) for name in names}
        rows.append((Cell(task), *(_cell(printed.get((task, name)), measured[name]) for name in names)))
        data += [(task, name, printed.get((task, name)), *_numbers(measured[name])) for name in names]
    number_of = which.removeprefix("squeeze")
    return Table(
        f"lora-squeeze-table{number_of}",
        f"LoRA-Squeeze, Table {number_of} ({', '.join(dict.fromkeys(theirs['model']))})",
        (Head("task"), *(Head(name) for name in names)),
        tuple(rows),
        (NOTE, *(() if ours else (NONE,)), footer(frame)),
        pd.DataFrame(data, columns=["task", "procedure", "printed", "ours", "low", "high", "n"]),
    )


def _ours(frame: Frame, which: str) -> dict[tuple[str, str], Estimate]:
    """(task's key, printed procedure) -> our estimate, of runs of the paper's model at full size."""
    model = _key(str(published(which)["model"].iloc[0]))
    estimates: dict[tuple[str, str], Estimate] = {}
    for block in frame.blocks:
        rows = frame.block(block)
        if rows.iloc[0]["model_size"] != "full" or model not in {
            _key(rows.iloc[0][c]) for c in ("model", "model_label")
        }:
            continue
        of_block = _gained(frame, block) if which == "squeeze6" else _scored(rows, frame.better(block))
        for task in {_key(rows.iloc[0][c]) for c in ("dataset", "dataset_label")}:
            estimates |= {(task, name): estimate for name, estimate in of_block.items()}
    return estimates


def _scored(rows: pd.DataFrame, better: str) -> dict[str, Estimate]:
    """Of Tables 1, 7 and 8: final rank 1, from rank 128."""
    ours = rows[(rows["procedure"] == "direct") | (rows["start_rank"] == 128)]
    estimates = {column.name: estimate_of(column.runs, "shown") for column in columns_of(ours, 1, better)}
    return {name: estimate for name, estimate in estimates.items() if estimate.n}


def _gained(frame: Frame, block: str) -> dict[str, Estimate]:
    return {
        f"Post {source:.0f}→{rank:.0f} over Direct r={rank:.0f}": gain for source, rank, gain in gains(frame, block)
    }


def _average(
    ours: dict[tuple[str, str], Estimate], printed: dict[tuple[str, str], float], name: str
) -> Estimate | None:
    """The mean of our means over the paper's 13 text tasks; None unless all of them are there."""
    tasks = {key(task) for task in published("squeeze1")["dataset"] if task != _AVERAGE}
    means = [ours[task, name].mean for task in tasks if (task, name) in ours]
    whole = len(means) == len(tasks) and (_AVERAGE, name) in printed
    return Estimate(sum(means) / len(means), float("nan"), float("nan"), len(means)) if whole else None


def _cell(printed: float | None, ours: Estimate | None) -> Cell:
    theirs = "–" if printed is None else number(printed, 2)
    if ours is None:
        return Cell(theirs, printed, "absent" if printed is None else "")
    return Cell(f"{theirs} / {number(ours.mean, 2)}{range_text(ours, lambda v: number(v, 2))} ({ours.n})", ours.mean)


def _numbers(ours: Estimate | None) -> tuple[float | None, float | None, float | None, int]:
    return (None, None, None, 0) if ours is None else (ours.mean, ours.low, ours.high, ours.n)


def _key(name: str) -> str:
    plain = key(name)
    return _ALSO.get(plain, plain)
