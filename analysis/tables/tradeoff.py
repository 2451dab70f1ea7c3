"""The trade-off table of one block: what each method scored, and what it cost.

Failed and missing runs stand in it with their reason.
"""

from collections.abc import Iterator

import pandas as pd

from analysis.frame import Frame
from analysis.scale import scale_of
from analysis.stats.power import detectable_note
from analysis.table import Cell, Head, Table
from analysis.tables.cells import (
    MARK_NOTE,
    RANGE_NOTE,
    far_off_notes,
    footer,
    mean_cell,
    method_cell,
    score_cell,
    slug,
    supported_marks,
)
from analysis.times import times_comparable

MB = 1e-6
_COSTS = (
    ("train_s", 1, 1.0),
    ("step_ms", 1, 1.0),
    ("peak_bytes", 0, MB),
    ("saved_bytes", 1, MB),
    ("trainable_params", 0, 1.0),
)


def tradeoff(frame: Frame, block: str) -> Table:
    """Method × (score: mean and range over seeds, train s, step ms, peak MB, saved-for-backward MB, trainable
    parameters).
    """
    metric, better = frame.shown(block), frame.better(block)
    marks = supported_marks(frame, block, "shown", better)
    rows = []
    for method in frame.methods_of(block):
        runs = frame.cell(block, method)
        score = score_cell(runs, "shown", metric.digits, marks.get(method, ""))
        costs = (
            [mean_cell(runs, *cost) for cost in _COSTS]
            if score.value is not None
            else [Cell("–", mark="absent")] * len(_COSTS)
        )
        rows.append((method_cell(method), score, *costs))
    notes = (
        RANGE_NOTE,
        "MB = 1,000,000 bytes.",
        MARK_NOTE,
        *detectable_note(
            frame.values(block, "shown"), frame.control, metric, scale_of(frame.block(block), "shown").step
        ),
        *far_off_notes(frame, block),
        *(note for note in frame.notes if note.startswith(f"{block}, ") and "chosen on validation" in note),
        *_same_function_notes(frame, block),
        *_times_note(frame, block),
        footer(frame, (block,)),
    )
    return Table(
        f"tradeoff-{slug(block)}",
        f"{block}: score and cost",
        heads(frame, block),
        tuple(rows),
        notes,
        _data(frame, block),
    )


def _same_function_notes(frame: Frame, block: str) -> Iterator[str]:
    """A sentence for each method whose card says that it is another one's function, where both are in the block."""
    cells = frame.block(block)[["label", "method_name", "same_function_as"]].drop_duplicates("label")
    for row in cells[cells["same_function_as"] != ""].itertuples():
        for other in cells.loc[cells["method_name"] == row.same_function_as, "label"]:
            yield f"{row.label} and {other} are one function, trained in other coordinates: two rows of one method."


def _times_note(frame: Frame, block: str) -> tuple[str, ...]:
    comparable, why = times_comparable(frame.block(block))
    return () if comparable else (f"Times are not comparable: {why}.",)


def tradeoffs(frame: Frame) -> tuple[Table, ...]:
    """One trade-off table per block."""
    return tuple(tradeoff(frame, block) for block in frame.blocks)


def heads(frame: Frame, block: str) -> tuple[Head, ...]:
    """The headings; the peak says how it was measured."""
    metric = frame.shown(block)
    done = frame.block(block)
    kinds = sorted(set(done.loc[done["peak_bytes"].notna(), "peak_kind"])) or ["memory"]
    return (
        Head("method"),
        Head(metric.name, metric.unit, frame.better(block)),
        Head("train", "s", "min"),  # type: ignore[arg-type]
        Head("step", "ms", "min"),
        Head(f"peak {' or '.join(kinds)}", "MB", "min"),
        Head("saved for backward", "MB", "min"),
        Head("trainable parameters", "", "min"),
    )


def _data(frame: Frame, block: str) -> pd.DataFrame:
    columns = [
        "label",
        "model",
        "dataset",
        "seed",
        "id",
        "status",
        "reason",
        "metric",
        "score",
        "train_s",
        "step_ms",
        "peak_bytes",
        "peak_kind",
        "saved_bytes",
        "trainable_params",
    ]
    return frame.block(block)[columns].rename(columns={"label": "method"}).reset_index(drop=True)
