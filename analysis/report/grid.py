"""The first thing that a report shows: method × task, with the score, what it cost and the verdict in a word."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.frame import Frame
from analysis.metric import number
from analysis.table import Mark
from analysis.tables.cells import absent_cell, estimate_of, finite
from analysis.times import times_comparable
from analysis.verdict import Verdict, named
from harness.ledger.units import format_bytes, format_duration


@dataclass(frozen=True)
class GridCell:
    """`score` and `cost` as texts, empty where there is none; `word` is the verdict or what became of the runs."""

    word: str
    score: str = ""
    value: float | None = None
    cost: str = ""
    mark: Mark = ""


def grid(frame: Frame, verdicts: Sequence[Verdict]) -> list[tuple[str, list[GridCell]]]:
    """(method, a cell for each block) in the order of the plan; `verdicts` are of the frame's blocks."""
    return [(method, [_cell(frame, v, method) for v in verdicts]) for method in frame.methods]


def headline(verdicts: Sequence[Verdict]) -> str:
    """Who has the best mean, and on how many tasks, in one sentence."""
    best = Counter(v.best for v in verdicts if v.best is not None)
    if not best:
        return "No run has finished."
    total = sum(best.values())
    if total == 1:
        return f"{next(iter(best))} has the best mean score."
    if len(best) == 1:
        return f"{next(iter(best))} has the best mean score on all {total} tasks."
    return f"Best mean score: {named([f'{method} on {n} of {total} tasks' for method, n in best.most_common()])}."


def legend(frame: Frame, verdicts: Sequence[Verdict]) -> str:
    """What the words of the grid stand for, of those that are in it, and which times do not compare."""
    margin = f"{number(frame.margin or 0, 1).removesuffix('.0')} points"
    meanings = (
        ("as_good", f"As good: not worse than the best mean by the margin of {margin} (non-inferiority, p < .05)."),
        ("worse", "Worse: than the best mean, on this test set (paired t test over seeds, Holm, p < .05)."),
        ("alike", "Not told apart: these seeds do not say which is better."),
    )
    words = [text for name, text in meanings if any(getattr(v, name) for v in verdicts)]
    words += [f"Times do not compare on {block}: {why}." for block, why in _apart(frame)]
    return " ".join(["Mean score over seeds, verdict, training time · memory of a step.", *words])


def _apart(frame: Frame) -> list[tuple[str, str]]:
    found = [(block, times_comparable(frame.block(block))) for block in frame.blocks]
    return [(block, why) for block, (comparable, why) in found if not comparable]


def _cell(frame: Frame, verdict: Verdict, method: str) -> GridCell:
    runs = frame.cell(verdict.block, method)
    if runs.empty:
        return GridCell("not planned", mark="absent")
    score = estimate_of(runs, "shown")
    if score.n == 0:
        absent = absent_cell(runs, "shown")
        return GridCell(absent.text, mark=absent.mark)
    metric = frame.shown(verdict.block)
    text = f"{number(score.mean, metric.digits)}{' %' if metric.unit == '%' else ''}"
    planned = int((runs["status"] != "skipped").sum())
    held = f", {score.n} of {planned} runs" if score.n < planned else ""
    mark: Mark = "best" if method == verdict.best or method in verdict.as_good else ""
    return GridCell(_word(verdict, method) + held, text, finite(score.mean), _cost(runs), mark)


def _word(verdict: Verdict, method: str) -> str:
    words = [
        ("best mean", method == verdict.best),
        ("worse, but within the margin", method in verdict.as_good and method in verdict.worse),
        ("as good", method in verdict.as_good),
        ("worse", method in verdict.worse),
        ("not told apart", method in verdict.alike),
    ]
    word = next((word for word, holds in words if holds), "not tested")
    return f"{word}, quickest" if method == verdict.quickest else word


def _cost(runs: pd.DataFrame) -> str:
    """`32.2 s · 463 MB`: means of the training time and of the memory of a step, of those that were measured."""
    time, memory = estimate_of(runs, "train_s"), estimate_of(runs, "step_bytes")
    parts = [format_duration(time.mean)] * bool(time.n) + [format_bytes(memory.mean)] * bool(memory.n)
    return " · ".join(parts)
