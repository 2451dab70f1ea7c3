"""A table for the terminal, through rich. Names are printed as they are: no mark-up in them is ever read."""

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from analysis.table import Cell, Table

_STYLE = {"best": "bold green", "second": "underline", "third": "italic", "absent": "dim", "bad": "red", "": ""}


def print_table(table: Table, console: Console) -> None:
    """Print it, with reasons and notes under it."""
    shown = RichTable(
        title=Text(table.title, style="bold"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    heads, rows = [head.text for head in table.heads], table.rows
    widest = _widths(rows, len(heads))
    room = console.width - 2 * len(widest)
    if sum(map(max, map(len, heads), widest)) > room:
        heads = [heads[0], *map(_stacked, heads[1:])]
    if sum(widest) > room:
        rows = tuple(tuple(replace(cell, text=_folded(cell.text)) for cell in row) for row in rows)
        widest = _widths(rows, len(heads))
    limits = [44, *[24] * (len(widest) - 1)]  # a number is never cut: headings fold instead, and then long texts
    for i, text in enumerate(heads):
        side = "left" if i in table.text_columns else "right"
        shown.add_column(Text(text), justify=side, overflow="fold", min_width=min(widest[i], limits[i]))
    reasons: dict[str, int] = {}
    words = [max(map(len, text.split("\n"))) for text in heads]
    needed = sum(max(word, min(width, limit)) for word, width, limit in zip(words, widest, limits, strict=True))
    if needed > room:
        _print_stacked(table, console, reasons)
    else:
        for row in rows:
            shown.add_row(*(_text(cell, reasons) for cell in row))
        console.print(shown)
    for why, n in reasons.items():
        console.print(Text(f"  [{n}] {why}", style="red" if why.startswith("failed") else "dim"))
    for note in table.notes:
        console.print(Text(f"  {note}", style="dim"))


def _print_stacked(table: Table, console: Console, reasons: dict[str, int]) -> None:
    """For a terminal that is too narrow for the columns: a line for each cell, under the name of its row."""
    console.print(Text(table.title, style="bold"))
    names = next((i for i in range(len(table.heads)) if i not in table.text_columns), 1)
    for row in table.rows:
        console.print(Text(" · ".join(cell.text for cell in row[:names]), style="bold"))
        for head, cell in zip(table.heads[names:], row[names:], strict=True):
            console.print(Text.assemble(f"  {head.text}: ", _text(cell, reasons)))


def _widths(rows: Sequence[Sequence[Cell]], columns: int) -> list[int]:
    """Of the longest line in each column, with the mark of a reason."""
    return [
        max((max(map(len, row[i].text.split("\n"))) + 4 * bool(row[i].why) for row in rows), default=1)
        for i in range(columns)
    ]


def _folded(text: str) -> str:
    """A range and the number of runs on lines of their own."""
    return text.replace(" [", "\n[").replace("] (", "]\n(")


def _stacked(heading: str) -> str:
    """A word a line, arrows and units beside their word: for a terminal that is too narrow for whole headings."""
    return (
        heading.replace(" ↑", "\N{NO-BREAK SPACE}↑")
        .replace(" ↓", "\N{NO-BREAK SPACE}↓")
        .replace(" / ", "/")
        .replace(" ", "\n")
    )


def _text(cell: Cell, reasons: dict[str, int]) -> Text:
    text = Text(cell.text, style=_STYLE[cell.mark])
    if cell.why:
        text.append(f" [{reasons.setdefault(cell.why, len(reasons) + 1)}]", style="dim")
    return text
