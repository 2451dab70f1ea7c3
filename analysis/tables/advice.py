"""The options of `advise` as a table."""

import pandas as pd

from analysis.advise import Option, as_json, limits
from analysis.frame import Frame
from analysis.table import Cell, Head, Table
from analysis.tables.cells import finite, score_text
from harness.ledger.units import format_bytes, format_duration


def advice_table(frame: Frame, options: tuple[Option, ...], budget: str) -> Table:
    """The options as a table; limits of the evidence as notes."""
    rows = tuple(_row(frame, o) for o in options)
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("score"),
        Head("peak, measured", "", "min"),
        Head("training and evaluation, measured", "", "min"),
        Head("set-up, once", "", "min"),
        Head("advice"),
    )
    return Table(
        "advice",
        f"Methods under {budget}",
        heads,
        rows,
        limits(frame, options),
        pd.DataFrame(as_json(options)),
    )


def _row(frame: Frame, o: Option) -> tuple[Cell, ...]:
    digits = frame.shown(o.block).digits
    score = Cell(score_text(o.score, digits, o.score.n + o.lost), finite(o.score.mean))
    advice = (
        Cell("take this", mark="best")
        if o.best
        else Cell("fits")
        if o.fits
        else Cell("no", mark="absent", why=o.why_not)
    )
    peak = Cell("–", mark="absent") if o.peak_gb is None else Cell(format_bytes(1e9 * o.peak_gb), o.peak_gb)
    hours = Cell("–", mark="absent") if o.hours is None else Cell(format_duration(3600 * o.hours), o.hours)
    once = Cell("–", mark="absent") if o.setup_s is None else Cell(format_duration(o.setup_s), o.setup_s)
    return Cell(o.block), Cell(o.method), score, peak, hours, once, advice
