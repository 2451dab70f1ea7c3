"""One setting a method, chosen on validation: a method tried with eighteen settings is compared on the test scores of
that one, never on the best of eighteen.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.tables.tuning import tuned


def compared(frame: Frame) -> Frame:
    """What verdict and tables compare: `frame`, or, where a method was tried with several settings of its recipe, the
    settings that validation chose.
    """
    return chosen_settings(frame) if any(tuned(frame)) else frame


def chosen_settings(frame: Frame) -> Frame:
    """The frame with, of several settings of one method in a block (learning rate × rank, say), the one with the best
    mean validation score over its seeds. Its notes say which was chosen and of how many.

    A setting that lost a seed is not chosen unless all did; of equal ones the first is. Labels lose their setting.
    """
    parts, notes = [], []
    for (block, _), tried in frame.rows.groupby(["block", "method_name"], sort=False):
        labels = list(dict.fromkeys(tried["label"]))
        scores = [_validation(tried[tried["label"] == label], frame.better(str(block))) for label in labels]
        cell = tried[tried["label"] == labels[int(np.argmax(scores))]]
        if len(labels) == 1:
            parts.append(cell)
            continue
        setting = str(cell.iloc[0]["setting"])
        plain = str(cell.iloc[0]["label"]).replace(f" ({setting})", "")
        notes.append(f"{block}, {plain}: {setting}, chosen on validation of {len(labels)} settings tried.")
        parts.append(cell.assign(label=plain, method=cell["method_name"]))
    rows = pd.concat(parts)
    methods = tuple(dict.fromkeys(rows["label"]))
    chosen = replace(frame, rows=rows, methods=methods, notes=(*frame.notes, *notes))
    return chosen.reordered(rows)


def _validation(cell: pd.DataFrame, better: str) -> float:
    """Mean validation score, higher better; -inf where a seed was lost."""
    if not cell["done"].all() or cell["val_score"].isna().any():
        return -np.inf
    return float(cell["val_score"].mean()) * (1 if better == "max" else -1)
