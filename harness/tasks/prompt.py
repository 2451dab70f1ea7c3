"""Prompts from a card's templates, shortened so that the question, the options and the answer cue always survive.

Refuses to drop anything but words of the context: where that is not enough, the row is an error (study, §3.2, trap 23).
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.data.fields import value_at
from harness.ledger.dataset_spec import DatasetSpec, Prompt
from harness.ledger.errors import DataError

Encode = Callable[[str], list[int]]


def render(template: str, row: Mapping[str, Any]) -> str:
    """`{column}`, `{column.key}`, `{column[key][0]}` and `{column:filter}`; a list of texts becomes one per line.

    `{{` and `}}` are braces. Raises DataError where the row lacks what is asked for, or has no text there.
    """
    try:
        return _Template().vformat(template, (), row)
    except (DataError, ValueError) as error:
        raise DataError(
            f"template {template!r}: {error} In a template {{column}} is replaced; a brace that is text is doubled."
        ) from error


def text_of(value: Any, path: str) -> str:
    """A text as it is, a whole number in decimal, a list of these one per line. Raises DataError for anything else:
    a null, a float, a date or true has no text of its own until the data or the card says which."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list | tuple):
        return "\n".join(text_of(item, path) for item in value)
    if value is None:
        raise DataError(
            f"'{path}' is null; write a text into the data, or, for an input, dataset.missing_text: empty on the card."
        )
    raise DataError(f"'{path}' holds {value!r:.80}, a {type(value).__name__}; write it as text in the data.")


def inputs_of(dataset: DatasetSpec, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row as prompts read it: a null is an empty text where the card says so."""
    return {name: _filled(value) for name, value in row.items()} if dataset.missing_text == "empty" else row


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
    """str.format with paths of ours for fields, and our filters in the place of format specifications."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[str, str]:
        return text_of(value_at(kwargs, field_name), field_name), field_name

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if conversion:
            raise DataError(f"'!{conversion}' is no part of a template here.")
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        if not format_spec:
            return value
        if format_spec not in FILTERS:
            raise DataError(f"template filter '{format_spec}' is unknown; known: {', '.join(FILTERS)}.")
        return FILTERS[format_spec](value)


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item) for item in value]
    return "" if value is None else value


def _some(words: Sequence[str], count: int, cut: str) -> str:
    return "".join(words[:count] if cut == "right" else words[len(words) - count :])
