"""The numbers that the page's chart is drawn from, as one JSON block: the tables' means and ranges, and each seed."""

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from analysis.columns import column
from analysis.figures.style import COLOURS
from analysis.frame import Frame
from analysis.tables.cells import estimate_of, finite

_SCALES = {"bytes": (1e-6, "MB"), "FLOP": (1e-9, "GFLOP"), "s": (1.0, "s"), "ms": (1.0, "ms"), "nats": (1.0, "nats")}
_AXES = (
    *("train_s", "step_ms", "step_bytes", "peak_bytes", "saved_bytes", "trainable_params", "flops_per_step", "wall_s"),
    *("test_loss", "train_loss", "gap_abs"),
)


def chart_data(chosen: Frame, frame: Frame) -> dict[str, Any]:
    """`points`: a mean with its range for each method, block and measured column of `chosen`; `settings`: validation
    scores of all settings tried in `frame`.
    """
    columns = [name for name in _AXES if chosen.rows.loc[chosen.rows["done"], name].notna().any()]
    return {
        "control": chosen.control,
        "methods": [{"name": m, "colour": COLOURS[i % len(COLOURS)]} for i, m in enumerate(chosen.methods)],
        "blocks": [_block(chosen, block) for block in chosen.blocks],
        "columns": [{"key": "shown", "label": "test score", "unit": "", "better": "max"}, *map(_column, columns)],
        "points": [
            {"block": block, "method": method, "values": _values(chosen, block, method, ["shown", *columns])}
            for block in chosen.blocks
            for method in chosen.methods_of(block)
        ],
        "settings": _settings(frame),
    }


def as_script(data: dict[str, Any]) -> Markup:
    """JSON for a script element: without `<`, so that no text in it ends the element or begins a comment."""
    return Markup(json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _block(frame: Frame, block: str) -> dict[str, Any]:
    return {"name": block, "score": frame.shown(block).axis, "better": frame.better(block)}


def _column(name: str) -> dict[str, Any]:
    declared = column(name)
    unit = _SCALES.get(declared.unit, (1.0, ""))[1]
    return {"key": name, "label": declared.label, "unit": unit, "better": declared.direction}


def _values(frame: Frame, block: str, method: str, columns: list[str]) -> dict[str, Any]:
    """Column -> mean, lowest, highest (null below three seeds) and the value of each seed, in the shown unit."""
    runs, found = frame.cell(block, method), {}
    for name in columns:
        factor = 1.0 if name == "shown" else _SCALES.get(column(name).unit, (1.0, ""))[0]
        estimate = estimate_of(runs, name)
        if estimate.n:
            ends = (finite(estimate.low * factor), finite(estimate.high * factor)) if estimate.known else (None, None)
            seeds = frame.values(block, name)[method].dropna() * factor
            found[name] = {
                "mean": estimate.mean * factor,
                "low": ends[0],
                "high": ends[1],
                "n": estimate.n,
                "seeds": {str(seed): value for seed, value in seeds.items()},
            }
    return found


def _settings(frame: Frame) -> list[dict[str, Any]]:
    """block, method, the numeric settings and mean validation score as shown (null where a seed failed)."""
    rows = frame.rows[frame.rows["setting"] != ""]
    return [
        {"block": block, "method": _plain(cell), "keys": keys, "score": _validation(frame, str(block), cell)}
        for (block, _, setting), cell in rows.groupby(["block", "method_name", "setting"], sort=False)
        if (keys := _numbers(str(setting)))
    ]


def _plain(cell: pd.DataFrame) -> str:
    """The method's label without its setting."""
    first = cell.iloc[0]
    return str(first["label"]).removesuffix(f" ({first['setting']})")


def _numbers(setting: str) -> dict[str, float]:
    """`recipe.lr=0.001, update.rank=8` as numbers; a setting that is none is left out."""
    pairs = (part.partition("=") for part in setting.split(", "))
    values = {key: pd.to_numeric(value, errors="coerce") for key, _, value in pairs}
    return {key: float(value) for key, value in values.items() if np.isfinite(value)}


def _validation(frame: Frame, block: str, cell: pd.DataFrame) -> float | None:
    whole = cell["done"].all() and cell["val_score"].notna().all()
    return finite(float(cell["val_score"].mean()) * frame.shown(block).factor) if whole else None
