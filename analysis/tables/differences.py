"""How large differences between methods are over the blocks of a comparison, beside the tests that only rank them."""

from collections.abc import Iterable

import pandas as pd

from analysis.compare import Comparison, spread_of
from analysis.metric import number
from analysis.stats.differences import Spread
from analysis.table import Cell, Head, Table

NOTE = (
    "± is the standard error between blocks (SD / √n): of single printed values it holds no variance between seeds. "
    "A mean that lives by one block is far from the mean without it. Weighted: blocks count by 1 / (±² of the one + ±² "
    "of the other), where a table gives ± for every score."
)


def difference_table(comparison: Comparison, control: str | None = None) -> Table | None:
    """Every pair, the better mean first; with `control`, every other method less the control.

    None where blocks have metrics of several names, whose differences have no common unit.
    """
    metrics = {name.rsplit(" / ", 1)[1] for name in comparison.blocks}
    if len(metrics) > 1:
        return None
    names = [_short(comparison.blocks, name) for name in comparison.blocks]
    pairs = [_pair(comparison, a, b, names, control) for a, b in _chosen(comparison, control)]
    pairs.sort(key=lambda pair: -pair[2].mean)
    return spread_table("differences", f"Differences in {metrics.pop()}", pairs)


def spread_table(name: str, title: str, pairs: Iterable[tuple[str, str, Spread]]) -> Table:
    """One row for each (first, second, spread of first less second)."""
    pairs = list(pairs)
    weighted = all(spread.weighted is not None for _, _, spread in pairs)
    heads = (
        Head("first – second"), Head("blocks"), Head("mean difference"),
        *((Head("weighted by ±"),) if weighted else ()), Head("median"),
        Head("without its largest block"), Head("higher / lower", "blocks"),
    )  # fmt: skip
    rows = tuple(_row(*pair, weighted) for pair in pairs)
    data = pd.DataFrame([{"first": a, "second": b, **vars(spread)} for a, b, spread in pairs])
    return Table(name, title, heads, rows, (NOTE,), data)


def _chosen(comparison: Comparison, control: str | None) -> list[tuple[int, int]]:
    count = len(comparison.methods)
    if control is None:
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    base = comparison.methods.index(control)
    return [(a, base) for a in range(count) if a != base]


def _pair(comparison: Comparison, a: int, b: int, blocks: list[str], control: str | None) -> tuple[str, str, Spread]:
    if control is None and (comparison.scores[:, a] - comparison.scores[:, b]).mean() < 0:
        a, b = b, a
    return comparison.methods[a], comparison.methods[b], spread_of(comparison, a, b, blocks)


def _row(first: str, second: str, spread: Spread, weighted: bool) -> tuple[Cell, ...]:
    without = "–" if spread.n < 2 else f"{signed(spread.without_largest)} ({spread.largest})"
    return (
        Cell(f"{first} – {second}"),
        Cell(str(spread.n), spread.n),
        _mean(spread.mean, spread.error),
        *((_mean(spread.weighted, spread.weighted_error),) if weighted else ()),
        Cell(signed(spread.median), spread.median),
        Cell(without, None if spread.n < 2 else spread.without_largest),
        Cell(f"{spread.wins} / {spread.losses}", spread.wins - spread.losses),
    )


def _mean(value: float | None, error: float | None) -> Cell:
    assert value is not None and error is not None, "weighted tables have both"
    return Cell(f"{signed(value)}{'' if error != error else f' ± {number(error, 2)}'}", value)


def signed(value: float) -> str:
    """`+0.43`, `−0.08`, `0.00`."""
    text = number(value, 2)
    return text if text.startswith("−") or not text.strip("0.") else f"+{text}"


def _short(blocks: tuple[str, ...], name: str) -> str:
    """The block without what all blocks have in common: of one model, the dataset."""
    parts = [block.split(" / ") for block in blocks]
    alike = [len(set(column)) == 1 for column in zip(*parts, strict=True)] if len({*map(len, parts)}) == 1 else []
    kept = [part for part, same in zip(name.split(" / "), alike, strict=False) if not same]
    return " / ".join(kept) or name
