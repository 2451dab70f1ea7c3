"""Everything a report holds, written to `report/<sweep>/`.

Makes no number of its own: tables and pictures come from their rooms.
"""

from collections.abc import Sequence
from pathlib import Path

from analysis.frame import Frame
from analysis.render.csv import csv
from analysis.render.latex import latex
from analysis.render.markdown import markdown
from analysis.report.content import sections
from analysis.report.drawing import Drawing
from analysis.report.page import page
from analysis.table import Table
from harness.ledger.life import Say
from harness.ledger.paths import write_whole


def write_report(frame: Frame, out: Path, say: Say = lambda words: None) -> Path:
    """Write index.html and, beside it, a .csv, .md, .tex of each table and a .png, .svg, .csv of each picture; returns
    index.html. say: is told what is being made.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawing, parts = Drawing(out, say), []
    for part in sections(frame):
        say(f"report: {part.title}")
        drawing.add(part.pictures)
        write_tables(part.tables, out)
        parts.append(part)
    write_whole(out / "index.html", page(frame, parts, drawing.finish()))
    return out / "index.html"


def write_tables(tables: Sequence[Table], out: Path) -> None:
    """Markdown, LaTeX and CSV of each table."""
    for table in tables:
        for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", csv(table))):
            write_whole(out / f"{table.name}.{suffix}", text)
