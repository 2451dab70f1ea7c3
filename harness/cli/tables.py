"""The one kind of table on a terminal: a text that is too wide for its column folds, and is never cut."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table


def folding_table(*headings: str, **options: Any) -> Table:
    """A rich table whose columns fold; `options` are those of `rich.table.Table`."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), **options)


def side_by_side(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], **options: Any) -> Table:
    """A table of numbers, a row for each thing; where the console is too narrow for it, a column for each thing."""
    table = _of_numbers(headings, rows, options)
    free = console.options.update(max_width=10_000)  # as wide as it would be without a limit
    if console.measure(table, options=free).maximum <= console.width:
        return table
    first, *others = zip(headings, *rows, strict=True)
    return _of_numbers(first, others, options)


def _of_numbers(headings: Sequence[str], rows: Sequence[Sequence[str]], options: dict[str, Any]) -> Table:
    table = folding_table(*headings, **options)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table
