"""A table as LaTeX (booktabs).

Compiles with pdflatex and packages booktabs, graphicx, amssymb, inputenc and textcomp; every special character is
escaped. A table wider than the line is scaled down to it, and never runs off the page.
"""

from analysis.table import Cell, Table

_MARKS = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "third": r"\textit{{{}}}"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "³": r"$^{3}$",
    "²": r"$^{2}$",
    "¹": r"$^{1}$",
    "·": r"$\cdot$",
    "–": "--",
    "—": "---",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "…": r"\ldots{}",
    "∞": r"$\infty$",
    "α": r"$\alpha$",
    "“": "``",
    "”": "''",
    "≈": r"$\approx$",
    "\u00a0": "~",
    "✓": r"$\checkmark$",
    "χ": r"$\chi$",
}


def latex(table: Table) -> str:
    """A `table` environment: best bold, second underlined, third italic; notes and reasons below the rules."""
    reasons: dict[str, int] = {}
    sides = [_side(table, i) for i in range(len(table.heads))]
    body = [" & ".join(_cell(cell, reasons) for cell in row) + r" \\" for row in table.rows]
    notes = [*(rf"$^{{{n}}}$ {escape(why)}" for why, n in reasons.items()), *map(escape, table.notes)]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{escape(table.title)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\setlength{\tabcolsep}{4pt}\footnotesize",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{''.join(sides)}}}",
            r"\toprule",
            " & ".join(_heading(head.text, side) for head, side in zip(table.heads, sides, strict=True)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip{{\scriptsize\raggedright {note}\par}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _side(table: Table, i: int) -> str:
    """Numbers flush right, texts flush left; a column of sentences is a paragraph."""
    if i not in table.text_columns:
        return "r"
    longest = max((len(row[i].text) for row in table.rows), default=0)
    return r"p{0.45\linewidth}" if longest > 60 else "l"


def _heading(text: str, side: str) -> str:
    """A long heading in two lines, broken at the space that is nearest its middle."""
    spaces = [i for i, c in enumerate(text) if c == " " and text[i + 1 :] not in ("↑", "↓")]
    if len(text) < 14 or not spaces or side != "r":
        return escape(text)
    middle = min(spaces, key=lambda i: abs(2 * i - len(text)))
    return rf"\shortstack[{side}]{{{escape(text[:middle])}\\{escape(text[middle + 1 :])}}}"


def document(tables: list[str]) -> str:
    """A whole document around rendered tables, to compile them with."""
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{booktabs,graphicx,amssymb,textcomp}",
            r"\begin{document}",
            *tables,
            r"\end{document}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Plain text as LaTeX; a character LaTeX could choke on becomes a question mark."""
    return "".join(
        _SPECIAL.get(c, c if (c.isascii() and c.isprintable()) or c in "äöüßéèáàñçÄÖÜ" else "?")
        for c in " ".join(text.split())
    )


def _cell(cell: Cell, reasons: dict[str, int]) -> str:
    text = _MARKS.get(cell.mark, "{}").format(escape(cell.text))
    return text if not cell.why else rf"{text}$^{{{reasons.setdefault(cell.why, len(reasons) + 1)}}}$"
