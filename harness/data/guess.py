"""What a table's columns are probably for, by simple rules, each with its reason: for a card that a person corrects."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harness.data.fields import as_number
from harness.ledger.errors import DataError

LABEL_NAMES = ("label", "labels", "class", "target", "category", "kind", "type", "sentiment", "topic", "intent", "y")
NUMBER_NAMES = ("score", "rating", "stars", "similarity", "value")
PAIRS = (("sentence1", "sentence2"), ("text1", "text2"), ("premise", "hypothesis"), ("question", "context"))
IMAGE = re.compile(r".+\.(png|jpe?g|gif|bmp|webp|tiff?)", re.IGNORECASE)
TEMPLATE_SIGNS = re.compile(r"[{}\[\]:!]")
PIECE = re.compile(r"\w+|[^\w\s]")
MOST_CLASSES = 200  # a column with more different values is not taken for a label unless it is named
MOST_WHOLE = 20  # different whole numbers that are still taken for classes
TOKENS_A_PIECE = 1.5  # of a word or sign: what tokenizers make of English is below that
STRATUM = 5  # rows of the smallest class that shares are held out of


@dataclass(frozen=True)
class Guess:
    """The task of a table. why: of each guessed key, the reason in a few words."""

    kind: str  # text_classification, regression or image_classification
    inputs: tuple[str, ...]  # one text column or two; or one image column
    label: str
    labels: tuple[str, ...]  # of a classification
    max_length: int
    stratify: tuple[str, ...]
    missing_text: str
    why: Mapping[str, str]


def guess(table: pa.Table, label: str | None = None) -> Guess:
    """The guesses about all rows of a dataset; label: its column, where that is known. Raises DataError."""
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if label is not None and label not in columns:
        raise DataError(f"there is no column '{label}'; the data has {', '.join(columns)}.")
    label, why_label = (label, "as --label says") if label else _label(columns)
    _check_whole(label, columns[label])
    inputs, why_inputs, is_image = _inputs({name: values for name, values in columns.items() if name != label})
    numbers = _is_quantity(columns[label])
    if is_image and numbers:
        raise DataError(f"column '{label}' holds many numbers, and images take classes; name another with --label.")
    if not is_image and (odd := [name for name in inputs if TEMPLATE_SIGNS.search(name)]):
        raise DataError(f"column {odd[0]!r}: prompts cannot name a column with one of {{}}[]:! in it; rename it.")
    kind = "image_classification" if is_image else "regression" if numbers else "text_classification"
    lengths = [] if is_image else [_pieces(row) for row in zip(*(columns[name] for name in inputs), strict=True)]
    length, why_length = _max_length(lengths)
    counts = Counter(map(label_text, columns[label]))
    return Guess(
        kind=kind,
        inputs=inputs,
        label=label,
        labels=() if numbers else _ordered(counts),
        max_length=length,
        stratify=(label,) if not numbers and min(counts.values()) >= STRATUM else (),
        missing_text="empty" if any(value is None for name in inputs for value in columns[name]) else "error",
        why={"label": why_label, "inputs": why_inputs, "max_length": why_length, "kind": _why_kind(numbers, counts)},
    )


def label_text(value: Any) -> str:
    """A class as the card writes it: true, 1 and not 1.0, else the text itself."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _label(columns: Mapping[str, Sequence[Any]]) -> tuple[str, str]:
    """By its name; else, of the columns whose values repeat, the one with the fewest."""
    by_name = {name.lower(): name for name in columns}
    for known in (*LABEL_NAMES, *NUMBER_NAMES):
        if known in by_name:
            return by_name[known], "guessed: by its name"
    counts = {name: len(set(map(label_text, values))) for name, values in columns.items() if _is_plain(values)}
    fitting = {
        name: count for name, count in counts.items() if 2 <= count <= min(MOST_CLASSES, len(columns[name]) // 2)
    }
    if not fitting:
        raise DataError(f"no column looks like a label: {', '.join(columns)}; name it with --label COLUMN.")
    return min(fitting, key=lambda name: fitting[name]), "guessed: of those that repeat, the one with the fewest values"


def _inputs(columns: Mapping[str, Sequence[Any]]) -> tuple[tuple[str, ...], str, bool]:
    """Columns, the reason, and whether it is an image."""
    images = [name for name, values in columns.items() if _holds_images(values)]
    if images:
        return (images[0],), "it holds images", True
    by_name = {name.lower(): name for name in columns}
    for pair in PAIRS:
        if all(name in by_name for name in pair):
            return tuple(by_name[name] for name in pair), "a pair, by their names", False
    lengths = {
        name: sum(map(len, values)) / len(values)
        for name, texts in columns.items()
        if (values := [text for text in texts if text is not None]) and all(isinstance(v, str) for v in values)
    }
    if not lengths:
        raise DataError(f"no column beside the label holds texts or images: {', '.join(columns) or 'there is none'}.")
    return (max(lengths, key=lambda name: lengths[name]),), "of the columns of texts, the one with the longest", False


def _check_whole(label: str, values: Sequence[Any]) -> None:
    if not _is_plain(values):
        raise DataError(f"column '{label}' holds lists or mappings, and a label is one value; name one with --label.")
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DataError(f"row {row} has no '{label}'; leave rows without a label out of the data.")
    if len(set(map(label_text, values))) < 2:
        raise DataError(f"column '{label}' holds '{values[0]}' in every row; name the label's column with --label.")


def _is_plain(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str | int | float | None) for value in values)


def _is_quantity(values: Sequence[Any]) -> bool:
    """Whether a label is a number to predict: all are numbers, and not a few whole ones."""
    numbers = [as_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    whole = all(number.is_integer() for number in known)
    return len(known) == len(numbers) and not (whole and len(set(known)) <= MOST_WHOLE)


def _holds_images(values: Sequence[Any]) -> bool:
    def is_image(value: Any) -> bool:
        return isinstance(value, bytes) or (isinstance(value, Mapping) and "bytes" in value) or _names_image(value)

    return all(is_image(value) for value in values)


def _names_image(value: Any) -> bool:
    return isinstance(value, str) and IMAGE.fullmatch(value) is not None


def _pieces(texts: Sequence[str | None]) -> int:
    return sum(len(PIECE.findall(text or "")) for text in texts)


def _max_length(lengths: Sequence[int]) -> tuple[int, str]:
    """Tokens that 99 of 100 rows need, with room for a short prompt, in steps of 16, up to 512."""
    if not lengths:
        return 0, ""
    most = sorted(lengths)[int(0.99 * (len(lengths) - 1))]
    length = min(512, -(-int(TOKENS_A_PIECE * most + 16) // 16) * 16)
    return length, f"tokens; 99 of 100 rows have at most {most} words and signs, the longest {max(lengths)}"


def _ordered(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Classes by number where they are numbers, else by name."""
    numbers = {name: as_number(name) for name in counts}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(numbers, key=lambda name: numbers[name] or 0.0))
    return tuple(sorted(counts))


def _why_kind(numbers: bool, counts: Mapping[str, int]) -> str:
    if numbers:
        return f"the label is a number with {len(counts)} different values"
    return f"the label has {len(counts)} different values, the rarest in {min(counts.values())} rows"
