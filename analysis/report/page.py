"""The HTML page: jinja2 with autoescape, style and scripts inlined, no request to anywhere (a content policy forbids
it).
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.chosen import compared
from analysis.frame import Frame
from analysis.render.html import html
from analysis.report.chart_data import as_script, chart_data
from analysis.report.content import Section
from analysis.report.facts import facts, state
from analysis.report.grid import grid, headline, legend
from analysis.report.terms import explained, glossary, methods
from analysis.verdict import verdicts

_HERE = Path(__file__).parent
_SHOWN = 8  # blocks answered in full view; the others are one click away
_LIBRARIES = ("d3-7.9.2", "plot-0.6.17")


def page(frame: Frame, parts: Iterable[Section], drawn: Mapping[str, str] | None = None) -> str:
    """The whole page as text; the first of `parts` is the answer's. drawn: SVGs that are there, by a picture's name."""
    svgs = drawn or {}
    room = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    room.filters["table"] = lambda table: Markup(html(table))
    room.filters["svg"] = lambda picture: Markup(svgs.get(picture.name) or picture.svg)
    room.filters["explained"] = explained
    chosen, answers, scripts = compared(frame), verdicts(frame), list(_scripts())
    about = methods(chosen)
    answer, *others = parts
    shared, sections = _notes_once(frame, others)
    return room.get_template("page.html.j2").render(
        frame=frame,
        answer=answer,
        parts=sections,
        shared=shared,
        facts=facts(frame),
        state=state(frame),
        verdicts=answers,
        grid=grid(chosen, answers),
        headline=headline(answers),
        legend=legend(chosen, answers),
        about=about,
        terms=[*{term.key: term for term in about.values()}.values(), *glossary()],
        shown=_SHOWN,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        data=as_script(chart_data(chosen, frame)),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
    )


def _scripts() -> Iterator[Markup]:
    """D3 and Observable Plot, each below its licence, and our own."""
    for name in _LIBRARIES:
        licence = (_HERE / "vendor" / f"{name}.LICENSE.txt").read_text(encoding="utf-8")
        code = (_HERE / "vendor" / f"{name}.min.js").read_text(encoding="utf-8")
        yield Markup(f"/*\n{licence}*/\n{code}")
    for name in ("page.js", "chart.js", "settings.js"):
        yield Markup((_HERE / name).read_text(encoding="utf-8"))


def _notes_once(frame: Frame, parts: Sequence[Section]) -> tuple[list[str], list[Section]]:
    """(notes that several tables have, the sections without them). Where the tables are from stands in the facts."""
    counts = Counter(note for part in parts for table in part.tables for note in table.notes)
    made = f"plan {frame.digest} · "
    shared = [note for note, n in counts.items() if n > 1 and not note.startswith(made)]
    dropped = {*shared, *(note for note in counts if note.startswith(made))}
    return shared, [_without(part, dropped) for part in parts]


def _without(part: Section, dropped: set[str]) -> Section:
    tables = (replace(table, notes=tuple(n for n in table.notes if n not in dropped)) for table in part.tables)
    return replace(part, tables=tuple(tables))


def _hash(text: str) -> str:
    """What the content policy names a script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
