"""A table as LaTeX (booktabs).

Compiles with pdflatex and packages booktabs, inputenc and textcomp; every special character is escaped.
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
    sides = "".join("l" if i in table.text_columns else "r" for i in range(len(table.heads)))
    body = [" & ".join(_cell(cell, reasons) for cell in row) + r" \\" for row in table.rows]
    notes = [*(rf"$^{{{n}}}$ {escape(why)}" for why, n in reasons.items()), *map(escape, table.notes)]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{escape(table.title)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            " & ".join(escape(head.text) for head in table.heads) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {note}}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def document(tables: list[str]) -> str:
    """A whole document around rendered tables, to compile them with."""
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{booktabs,amssymb,textcomp}",
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
