"""What words of the page mean, shown where they stand: each method by its card, and terms of the glossary."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from analysis.frame import Frame
from analysis.tables.cells import slug

_FILE = Path(__file__).with_name("terms.json")  # lines of docs/glossary.md, as a test holds them


@dataclass(frozen=True)
class Term:
    """`key` is the id of its box on the page."""

    key: str
    word: str
    text: str


@cache
def glossary() -> tuple[Term, ...]:
    """The terms that leads and legends are searched for."""
    meanings = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(Term(f"term-{slug(word)}", word, re.sub(r"[*`]", "", text)) for word, text in meanings.items())


def methods(frame: Frame) -> dict[str, Term]:
    """Label -> the card's formula and source, of methods whose card says any; labels of one method share a box."""
    rows = frame.rows[(frame.rows["formula"] != "") | (frame.rows["paper"] != "")].drop_duplicates("label")
    return {row.label: Term(f"method-{slug(row.method_name)}", *_card(row)) for row in rows.itertuples()}


def _card(row) -> tuple[str, str]:  # noqa: ANN001
    word = str(row.label).removesuffix(f" ({row.setting})")
    return word, ". ".join(filter(None, (row.formula, row.paper))) + "."


def explained(text: str) -> Markup:
    """The text, escaped, with the first mention of each term as a button that opens its meaning."""
    words = {term.word: term for term in glossary()}
    longest_first = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    seen: set[str] = set()

    def button(match: re.Match[str]) -> str:
        word = match["word"].lower()
        if word in seen:
            return match[0]
        seen.add(word)
        return f'<button type="button" class="term" popovertarget="{words[word].key}">{match[0]}</button>'

    pattern = rf"\b(?P<word>{longest_first})s?\b"
    return Markup(re.sub(pattern, button, str(escape(text)), flags=re.IGNORECASE))
