"""A sweep's answer for machines: every block, method, score and cost, strict JSON data (no NaN; an absent value is
null with its reason).
"""

from typing import Any

import pandas as pd

from analysis.columns import COLUMNS, DERIVED
from analysis.frame import Frame
from analysis.stats.intervals import range_level
from analysis.tables.cells import estimate_of, finite, lost
from analysis.verdict import verdicts


def summary(frame: Frame) -> dict[str, Any]:
    """sweep, plan digest, notes, and one entry per block and method."""
    cells = [_cell(frame, block, method) for block in frame.blocks for method in frame.methods_of(block)]
    return {
        "sweep": frame.name,
        "title": frame.title,
        "plan": frame.digest,
        "notes": list(frame.notes),
        "control": frame.control,
        "margin": frame.margin,
        "answers": [
            {
                "block": v.block,
                "best": v.best,
                "alike": list(v.alike),
                "as_good": list(v.as_good),
                "quickest": v.quickest,
                "said": list(v.sentences),
            }
            for v in verdicts(frame)
        ],
        "cells": cells,
    }


def _cell(frame: Frame, block: str, method: str) -> dict[str, Any]:
    rows = frame.cell(block, method)
    first = rows.iloc[0]
    score = estimate_of(rows, "shown")
    costs = {c.name: _mean(rows, c.name) for c in (*COLUMNS, *DERIVED) if c.unit != "metric"}
    return {
        "block": block,
        "model": first["model"],
        "dataset": first["dataset"],
        "method": first["method"],
        "label": method,
        "metric": first["metric"],
        "direction": first["direction"],
        "unit": frame.shown(block).unit,
        "planned": int((rows["status"] != "skipped").sum()),
        "n": score.n,
        "score": finite(score.mean),
        "lowest": finite(score.low),
        "highest": finite(score.high),
        "range_holds_median": range_level(score.n) if score.known else None,
        "reason": lost(rows, "shown") if score.n < len(rows) else None,
        "means": costs,
    }


def _mean(rows: pd.DataFrame, name: str) -> float | None:
    return finite(float(rows.loc[rows["status"] == "done", name].mean()))
