"""The rows of a LaTeX tabular: fields between unescaped &, rows up to \\, without rules and without bold."""

import re

_RULES = re.compile(
    r"\\(toprule|midrule|bottomrule|hline|cline|cmidrule|addlinespace)(\([^)]*\))?(\[[^\]]*\])?(\{[^}]*\})?"
)
_STYLES = re.compile(r"\\(?:textbf|textit|underline|emph|mathbf|bm|texttt|textsc|mathrm)\s*\{([^{}]*)\}")


def latex_rows(lines: list[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """(line number, fields) of each row; empty for text that is no tabular. Lines as (number, text)."""
    rows, pending, start = [], "", 0
    for number, line in lines:
        text = _RULES.sub("", re.sub(r"(?<!\\)%.*", "", line)).strip()
        if text.startswith((r"\begin", r"\end", r"\caption", r"\label", r"\centering")) or not text:
            continue
        start, pending = (start, f"{pending} {text}") if pending else (number, text)
        *whole, pending = re.split(r"\\\\(?:\[[^\]]*\])?", pending)
        rows += [(start, row) for row in whole]
        pending = pending.strip()
    return [(number, _fields(row)) for number, row in [*rows, *([(start, pending)] if "&" in pending else [])]]


def _fields(row: str) -> list[str]:
    return [_plain(field) for field in re.split(r"(?<!\\)&", row)]


def _plain(field: str) -> str:
    r"""`\textbf{70.8} $\pm$ 0.3` as `70.8 ± 0.3`."""
    text = field.strip()
    while (bare := _STYLES.sub(r"\1", text)) != text:
        text = bare
    text = re.sub(r"\$|_\{\s*(?=\\pm)", "", text).replace(r"\pm", "±")
    text = text.rstrip("} ") if "±" in text else text
    return re.sub(r"\\([%&_#])", r"\1", text).strip()
