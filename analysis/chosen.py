"""One setting a method, chosen on validation: a method tried with eighteen settings is compared on the test scores of
that one, never on the best of eighteen.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.tables.tuning import of_method, tuned


def compared(frame: Frame) -> Frame:
    """What verdict and tables compare: `frame`, or, where a method was tried with several settings of its recipe
    (rates, say), the ones that validation chose. Settings of the method itself (ranks) are compared, as methods are.
    """
    return _chosen(frame, frame.rows["setting"].map(of_method)) if any(tuned(frame)) else frame


def chosen_settings(frame: Frame) -> Frame:
    """The frame with, of several settings of one method in a block (learning rate × rank, say), the one with the best
    mean validation score over its seeds. Its notes say which was chosen and of how many.

    A setting that lost a seed is not chosen unless all did; of equal ones the first is. Labels lose their setting.
    """
    return _chosen(frame, pd.Series("", index=frame.rows.index))


def _chosen(frame: Frame, kept: pd.Series) -> Frame:
    """One setting for each block, method and `kept` part of the settings, which stays in the labels."""
    parts, notes = [], []
    rows = frame.rows.assign(kept=kept)
    for (block, _, own), tried in rows.groupby(["block", "method_name", "kept"], sort=False):
        labels = list(dict.fromkeys(tried["label"]))
        cell = tried[tried["label"] == preferred(tried, frame.better(str(block)))]
        if len(labels) == 1:
            parts.append(cell)
            continue
        setting = str(cell.iloc[0]["setting"])
        plain = str(cell.iloc[0]["label"]).replace(f" ({setting})", f" ({own})" if own else "")
        notes.append(f"{block}, {plain}: {setting}, chosen on validation of {len(labels)} settings tried.")
        parts.append(cell.assign(label=plain, method=cell["method_name"] + (f" {own}" if own else "")))
    rows = pd.concat(parts).drop(columns="kept")
    methods = tuple(dict.fromkeys(rows["label"]))
    chosen = replace(frame, rows=rows, methods=methods, notes=(*frame.notes, *notes))
    return chosen.reordered(rows)


def preferred(tried: pd.DataFrame, better: str) -> str:
    """The label that validation prefers, of one method's rows in one block; the first of equal ones."""
    labels = list(dict.fromkeys(tried["label"]))
    return labels[int(np.argmax([_validation(tried[tried["label"] == label], better) for label in labels]))]


def _validation(cell: pd.DataFrame, better: str) -> float:
    """Mean validation score, higher better; -inf where a seed was lost."""
    if not cell["done"].all() or cell["val_score"].isna().any():
        return -np.inf
    return float(cell["val_score"].mean()) * (1 if better == "max" else -1)
