"""A table as an HTML fragment: sortable by keyboard, readable by a screen reader, and every text escaped."""

import re
from html import escape

from analysis.table import Cell, Head, Table

_RANGE = re.compile(r"\[[^\]]*\]")
_LETTERS = 100  # of numbers beside each other on 1400 pixels; in wider tables a cell breaks before its range
_STYLE = (
    ".table caption{text-align:left;font-weight:bold} .table .left{text-align:left} "
    ".table .right{text-align:right} .table td.right{white-space:nowrap} .table td.best{font-weight:bold} "
    ".table td.second{text-decoration:underline} .table td.third{font-style:italic} "
    ".table .said{font-size:.8em;font-weight:normal} "
    ".table .note{max-width:60em;margin:.3em 0;font-size:.85em;line-height:1.35;opacity:.75}"
)
_SAID = {"best": "best", "second": "second", "third": "third"}


def html(table: Table) -> str:
    """`<div class="table">`: caption, headers, reasons and notes. report/page.js makes buttons of headers."""
    reasons: dict[str, int] = {}
    heads = "".join(_head(head, i in table.text_columns) for i, head in enumerate(table.heads))
    body = "\n".join(_row(table, n, reasons) for n in range(len(table.rows)))
    below = [*(f"[{n}] {why}" for why, n in reasons.items()), *table.notes]
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in below)
    wide = " wide" * (sum(_widths(table)) > _LETTERS)
    return (
        f"<div class='table{wide}' id='table-{escape(table.name, quote=True)}'><div class='scroll' "
        "tabindex='0' role='region' "
        f"aria-label='{escape(table.title, quote=True)}, table'><table><caption>{escape(table.title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>{notes}</div>"
    )


def in_notebook(table: Table) -> str:
    """The same where there is no style sheet: what the notes say of marks holds, and numbers end at one edge."""
    return f"<style>{_STYLE}</style>{html(table)}"


def _widths(table: Table) -> list[int]:
    """Letters of the longest cell of each column of numbers."""
    columns = [i for i in range(len(table.heads)) if i not in table.text_columns]
    return [max((len(row[i].text) for row in table.rows), default=0) for i in columns]


def _head(head: Head, is_text: bool) -> str:
    better = {"max": "higher is better", "min": "lower is better", "none": ""}[head.direction]
    title = f" title='{better}'" if better else ""
    side = "left" if is_text else "right"
    text = escape(head.text).replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓")
    return f"<th scope='col' class='{side}'{title}>{text}</th>"


def _row(table: Table, n: int, reasons: dict[str, int]) -> str:
    """One row; a first cell that says what the row above says is marked as such, and set in a softer ink."""
    first, *rest = table.rows[n]
    again = n > 0 and table.rows[n - 1][0].text == first.text
    cells = [_cell(first, "th scope='row'", ["again"] * again + ["left"], reasons)]
    cells += [
        _cell(cell, "td", ["left" if i in table.text_columns else "right"], reasons) for i, cell in enumerate(rest, 1)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(cell: Cell, tag: str, classes: list[str], reasons: dict[str, int]) -> str:
    sort = "" if cell.value is None else f" data-value='{cell.value!r}'"
    words = f"<span class='said'> ({_SAID[cell.mark]})</span>" if cell.mark in _SAID else ""
    if cell.why:
        number = reasons.setdefault(cell.why, len(reasons) + 1)
        words += f"&nbsp;<abbr class='why' title='{escape(cell.why, quote=True)}'>[{number}]</abbr>"
    names = " ".join(filter(None, (cell.mark, *classes)))
    text = escape(cell.text)
    text = text if "left" in classes else _RANGE.sub(r"<span class='range'>\g<0></span>", text)
    return f"<{tag} class='{names}'{sort}>{text}{words}</{tag.split()[0]}>"
