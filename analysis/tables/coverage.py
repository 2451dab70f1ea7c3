"""What was planned and what became of it: counts per cell, and every run that gave no score, with its reason."""

import pandas as pd

from analysis.frame import Frame
from analysis.stats import exact
from analysis.table import Cell, Head, Mark, Table
from analysis.tables.cells import footer


def coverage(frame: Frame) -> Table:
    """Block × method: runs done of runs planned; a skipped cell says so."""
    rows = [(Cell(block), *(_cell(frame, block, m) for m in frame.methods)) for block in frame.blocks]
    heads = (Head("model / dataset"), *(Head(m) for m in frame.methods))
    counts = frame.rows.groupby(["block", "label", "status"], sort=False).size().rename("runs").reset_index()
    return Table(
        "coverage",
        "Runs done of runs planned",
        heads,
        tuple(rows),
        (footer(frame),),
        counts.rename(columns={"label": "method"}),
    )


def failures(frame: Frame) -> Table | None:
    """Every run and cell without a score, with its reason; None when there is none."""
    out = frame.rows[frame.rows["status"] != "done"]
    if out.empty:
        return None
    rows = tuple(
        (
            Cell(r.block),
            Cell(r.label),
            Cell("all" if r.seed < 0 else str(r.seed), float(r.seed)),
            Cell(r.status, mark=_mark(r.status)),
            Cell(r.reason),
            Cell(r.id or "–"),
        )
        for r in out.itertuples()
    )
    heads = (Head("model / dataset"), Head("method"), Head("seed"), Head("status"), Head("reason"), Head("run"))
    data = out[["block", "label", "seed", "status", "reason", "id"]].rename(columns={"label": "method"})
    counted = f"{len(out)} rows: " + ", ".join(f"{n} {s}" for s, n in out["status"].value_counts(sort=False).items())
    return Table("failures", "Runs and cells without a score", heads, rows, (counted, footer(frame)), data)


def _cell(frame: Frame, block: str, method: str) -> Cell:
    runs = frame.cell(block, method)
    if runs.empty:
        return Cell("not planned", mark="absent")
    if (runs["status"] == "skipped").all():
        return Cell("skipped", mark="absent")
    counts = runs["status"].value_counts()
    planned, done = int((runs["status"] != "skipped").sum()), int(counts.get("done", 0))
    rest = ", ".join(f"{counts[s]} {s}" for s in ("failed", "damaged", "missing") if s in counts)
    return Cell(
        f"{done}/{planned}{f' ({rest})' if rest else ''}", done / planned, _mark("failed") if "failed" in counts else ""
    )


def _mark(status: str) -> Mark:
    return "bad" if status in ("failed", "damaged") else "absent"


def means_of_blocks(frame: Frame) -> pd.DataFrame:
    """(blocks, methods) mean scores, higher better; NaN where a method lost a run."""
    return pd.DataFrame({b: _turned(frame, b) for b in frame.blocks}).T.reindex(columns=list(frame.methods))


def _turned(frame: Frame, block: str) -> pd.Series:
    """Means of methods whose planned runs are all done: a mean over survivors is no score of a cell."""
    values, runs = frame.values(block, "shown"), frame.block(block).groupby("label")["seed"].count()
    sign = 1 if frame.better(block) == "max" else -1
    scores = {m: values[m].dropna().to_numpy() for m in values if values[m].notna().sum() == runs[m]}
    means = {m: sign * float(exact.mean(x)) for m, x in scores.items() if len(x)}  # equal counts tie
    return pd.Series(means, dtype=float).reindex(values.columns)
