"""A table as GitHub Markdown.

Pipes, angle brackets and line ends in names are escaped: a name never becomes mark-up.
"""

from analysis.table import Cell, Table

_MARKS = {"best": "**{}**", "second": "<u>{}</u>", "third": "*{}*"}


def markdown(table: Table) -> str:
    """Best in bold, second underlined, third in italics; reasons as footnotes under the table."""
    reasons: dict[str, int] = {}
    lines = [f"### {_escape(table.title)}", "", _line(_escape(head.text) for head in table.heads)]
    lines.append(_line(":---" if i in table.text_columns else "---:" for i in range(len(table.heads))))
    lines += [_line(_cell(cell, reasons) for cell in row) for row in table.rows]
    lines += ["", *(f"{n}. {_escape(why)}" for why, n in reasons.items())]
    lines += ["", *(f"_{_escape(note)}_  " for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _cell(cell: Cell, reasons: dict[str, int]) -> str:
    text = _MARKS.get(cell.mark, "{}").format(_escape(cell.text))
    return text if not cell.why else f"{text} [{reasons.setdefault(cell.why, len(reasons) + 1)}]"


def _line(texts: object) -> str:
    return "| " + " | ".join(texts) + " |"  # type: ignore[arg-type]


def _escape(text: str) -> str:
    for mark in "\\|<>*_`[]":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
