"""The HTML page: jinja2 with autoescape, style and script inlined, no request to anywhere (a content policy forbids
it).
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.frame import Frame
from analysis.render.html import html
from analysis.report.content import Section
from analysis.report.facts import facts, state
from analysis.verdict import verdicts

_HERE = Path(__file__).parent
_SHOWN = 8  # blocks answered in full view; the others are one click away


def page(frame: Frame, parts: Sequence[Section]) -> str:
    """The whole page as text."""
    style, script = (_HERE / "page.css").read_text(), (_HERE / "page.js").read_text()
    room = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    room.filters["table"] = lambda table: Markup(html(table))
    room.filters["svg"] = lambda picture: Markup(picture.svg)
    return room.get_template("page.html.j2").render(
        frame=frame,
        parts=parts,
        facts=facts(frame),
        state=state(frame),
        verdicts=verdicts(frame),
        shown=_SHOWN,
        style=Markup(style),
        script=Markup(script),
        hash=_hash(script),
    )


def _hash(text: str) -> str:
    """What the content policy names the one script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
