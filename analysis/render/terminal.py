"""A table for the terminal, through rich. Names are printed as they are: no mark-up in them is ever read."""

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from analysis.table import Cell, Table

_STYLE = {"best": "bold green", "second": "underline", "third": "italic", "absent": "dim", "bad": "red", "": ""}


def print_table(table: Table, console: Console) -> None:
    """Print it, with reasons and notes under it."""
    shown = RichTable(title=Text(table.title, style="bold"), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    widest = [
        max((len(row[i].text) + 4 * bool(row[i].why) for row in table.rows), default=1) for i in range(len(table.heads))
    ]
    wide = sum(max(len(head.text), width) + 3 for head, width in zip(table.heads, widest, strict=True)) > console.width
    for i, (head, width) in enumerate(zip(table.heads, widest, strict=True)):
        text = Text(_stacked(head.text) if wide and i else head.text)
        if i == 0:
            shown.add_column(text, overflow="fold", max_width=44)
        else:  # a number is never cut: headings fold instead
            side = "left" if i in table.text_columns else "right"
            shown.add_column(text, justify=side, overflow="fold", min_width=min(width, 24))
    reasons: dict[str, int] = {}
    for row in table.rows:
        shown.add_row(*(_text(cell, reasons) for cell in row))
    needed = sum(
        max(*map(len, str(column.header).split()), width) for column, width in zip(shown.columns, widest, strict=True)
    )
    needed += 3 * len(widest)
    console.print(shown, width=max(needed, console.width), crop=False)  # too wide is folded by the terminal, never cut
    for why, n in reasons.items():
        console.print(Text(f"  [{n}] {why}", style="red" if why.startswith("failed") else "dim"))
    for note in table.notes:
        console.print(Text(f"  {note}", style="dim"))


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
