"""A table as an HTML fragment: sortable by keyboard, readable by a screen reader, and every text escaped."""

from html import escape

from analysis.table import Cell, Head, Table

_SAID = {"best": "best", "second": "second", "third": "third"}


def html(table: Table) -> str:
    """`<figure class="table">` with caption, `aria-sort` headers and notes; report/page.js makes the buttons sort."""
    heads = "".join(_head(head, i in table.text_columns) for i, head in enumerate(table.heads))
    body = "\n".join(
        f"<tr>{''.join(_cell(cell, i, i in table.text_columns) for i, cell in enumerate(row))}</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in table.notes)
    return (
        f"<div class='table' id='table-{escape(table.name, quote=True)}'><div class='scroll' "
        "tabindex='0' role='region' "
        f"aria-label='{escape(table.title, quote=True)}'><table><caption>{escape(table.title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>{notes}</div>"
    )


def _head(head: Head, is_text: bool) -> str:
    better = {"max": "higher is better", "min": "lower is better", "none": ""}[head.direction]
    title = f" title='{better}'" if better else ""
    side = "left" if is_text else "right"
    return (
        f"<th scope='col' aria-sort='none' class='{side}'><button "
        f"type='button'{title}>{escape(head.text)}</button></th>"
    )


def _cell(cell: Cell, i: int, is_text: bool) -> str:
    tag = "th scope='row'" if i == 0 else "td"
    sort = "" if cell.value is None else f" data-value='{cell.value!r}'"
    classes = " ".join(filter(None, (cell.mark, "left" if is_text else "right")))
    said = f"<span class='said'> ({_SAID[cell.mark]})</span>" if cell.mark in _SAID else ""
    why = f" <span class='why'>{escape(cell.why)}</span>" if cell.why else ""
    return f"<{tag} class='{classes}'{sort}>{escape(cell.text)}{said}{why}</{tag.split()[0]}>"
