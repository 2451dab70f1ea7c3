"""The options of `advise` as a table."""

import pandas as pd

from analysis.advise import Option, as_json, limits
from analysis.frame import Frame
from analysis.table import Cell, Head, Table
from analysis.tables.cells import finite, score_text


def advice_table(frame: Frame, options: tuple[Option, ...], budget: str) -> Table:
    """The options as a table; limits of the evidence as notes."""
    rows = tuple(_row(frame, o) for o in options)
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("score"),
        Head("peak", "GB", "min"),
        Head("training and evaluation", "h", "min"),
        Head("set-up, once", "s", "min"),
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
    peak = Cell("–", mark="absent") if o.peak_gb is None else Cell(f"{o.peak_gb:.3g}", o.peak_gb)
    hours = Cell("–", mark="absent") if o.hours is None else Cell(f"{o.hours:.3g}", o.hours)
    once = Cell("–", mark="absent") if o.setup_s is None else Cell(f"{o.setup_s:.3g}", o.setup_s)
    return Cell(o.block), Cell(o.method), score, peak, hours, once, advice
