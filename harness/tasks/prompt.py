"""Prompts from a card's templates, shortened so that the question, the options and the answer cue always survive.

Refuses to drop anything but words of the context: where that is not enough, the row is an error (study, §3.2, trap 23).
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.ledger.dataset_spec import Prompt
from harness.ledger.errors import DataError

Encode = Callable[[str], list[int]]


def render(template: str, row: Mapping[str, Any]) -> str:
    """`{column}`, `{column[key][0]}` and `{column:filter}`; a list of texts becomes one per line. Raises DataError."""
    try:
        return _Template().vformat(template, (), row)
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"template {template!r} asks for {error}, which the row has not; its columns: {', '.join(row)}."
        ) from error


def fit(prompt: Prompt, row: Mapping[str, Any], encode: Encode, room: int) -> tuple[list[int], bool]:
    """Token ids of the prompt within `room` tokens, and whether words of the context were dropped for it."""
    before, context, after = (render(part, row) for part in (prompt.before, prompt.context, prompt.after))
    ids = encode(before + context + after)
    if len(ids) <= room:
        return ids, False
    words = re.findall(r"\s*\S+", context)
    kept, low, high = encode(before + after), 0, len(words) - 1
    if len(kept) > room:
        raise DataError(
            f"{len(kept)} tokens must stay whole (all but the context), and only {room} fit; "
            f"raise dataset.task.max_length by {len(kept) - room}."
        )
    while low <= high:  # the most words that fit
        middle = (low + high) // 2
        ids = encode(before + _some(words, middle, prompt.cut) + after)
        if len(ids) <= room:
            kept, low = ids, middle + 1
        else:
            high = middle - 1
    return kept, True


def whole(prompt: Prompt, row: Mapping[str, Any]) -> str:
    """The prompt as text, nothing dropped."""
    return "".join(render(part, row) for part in (prompt.before, prompt.context, prompt.after))


def lines(columns: Sequence[str]) -> Prompt:
    """The prompt of a card that has none: its texts one per line, the first of them the context."""
    first, *rest = (f"{{{column}}}" for column in columns)
    return Prompt(before="", context=first, after="".join(f"\n{text}" for text in rest), cut="right")


def slots(text: str) -> str:
    """E2E meaning representations: `name[The Eagle], food[Thai]` to `food=thai ; name=the eagle` (study, §3.2)."""
    pairs = re.findall(r"([^,\[\]]+)\[([^\]]*)\]", text)
    return " ; ".join(sorted(f"{name.strip()}={value.strip()}".lower() for name, value in pairs))


FILTERS: Mapping[str, Callable[[str], str]] = {"slots": slots}


class _Template(string.Formatter):
    """str.format with our filters in the place of format specifications."""

    def format_field(self, value: Any, format_spec: str) -> str:
        text = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if not format_spec:
            return text
        if format_spec not in FILTERS:
            raise DataError(f"template filter '{format_spec}' is unknown; known: {', '.join(FILTERS)}.")
        return FILTERS[format_spec](text)


def _some(words: Sequence[str], count: int, cut: str) -> str:
    return "".join(words[:count] if cut == "right" else words[len(words) - count :])
