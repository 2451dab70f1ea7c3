"""Matched settings are a checked property of a comparison (measuring.md, T9): precision, batch, optimizer, data.

A method's own learning rate is free, as equal tuning gives each its own; so is a head's that follows it by one rule.
Otherwise the methods of one rate group (full, adapter, head: as recipes give rates) have one rate for the head.
A setting that the sweep tried on purpose stands in the method's label, and is therefore no hidden difference.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

DATA = "data"  # the knob that says which rows a run saw
_FACTS = ("block", "label", "setting", "knobs", "lr", "head_lr", "rates", "split", "status")


@dataclass(frozen=True)
class Differing:
    """One knob with several values inside one block: value (as text) -> labels of the methods that had it."""

    block: str
    knob: str
    values: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        parts = [f"{value} ({_few(labels)})" for value, labels in self.values.items()]
        return f"{self.knob} is {' and '.join(parts)}"


def differing(rows: pd.DataFrame) -> Iterator[Differing]:
    """Every knob that differs within a block, among runs whose label does not name it. Raises nothing: what follows
    from it is the caller's decision.
    """
    distinct = rows.loc[rows["knobs"] != "", list(_FACTS)].drop_duplicates()
    for block, runs in distinct.groupby("block", sort=False):
        for knob, seen in _seen(runs).items():
            if len(seen) > 1:
                yield Differing(str(block), knob, {value: tuple(labels) for value, labels in sorted(seen.items())})


def _seen(runs: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """knob -> value -> labels, of the runs of one block."""
    seen: dict[str, dict[str, list[str]]] = {}
    one_rule = (runs["lr"] == runs["head_lr"]).all()
    for run in runs.itertuples():
        named = {part.split("=")[0] for part in run.setting.split(", ")}
        knobs = {key: json.dumps(value) for key, value in json.loads(run.knobs).items()}
        if not one_rule:
            knobs[f"recipe.head_lr of {run.rates} methods"] = f"{run.head_lr:g}"
        if run.status == "done":
            knobs[DATA] = f"facts {run.split}"
        for key, value in knobs.items():
            if key in named or key.split(".")[0] in named:
                continue
            labels = seen.setdefault(key, {}).setdefault(value, [])
            labels += [run.label] if run.label not in labels else []
    return seen


def _few(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
