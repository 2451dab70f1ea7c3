"""Where the rows of a person's own data are, found from a path alone: splits by their names, encoding, delimiter."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.layout import READ, kind_of, split_files
from harness.data.text_file import read_text
from harness.ledger.errors import DataError, SpecError

VALIDATION = ("validation", "valid", "val", "dev")
ENCODINGS = ("utf-8", "cp1252")  # the second reads what spreadsheets of Windows save


@dataclass(frozen=True)
class TablePlace:
    """A folder, and what a card must say of it."""

    folder: Path
    files: Mapping[str, str]  # split -> pattern, where a file's name is not its split's
    splits: Mapping[str, list[Path]]
    reading: Mapping[str, str]  # encoding and delimiter, where they are not the usual ones


def find_place(data: Path) -> TablePlace:
    """A file is all there is, to be split; a folder has splits by their names. Raises SpecError or DataError."""
    data = data.expanduser().resolve()
    if "$" in str(data):
        raise SpecError(f"--from: {data}: a $ in a path is read as a variable's; rename the folder or file.")
    if data.is_file():
        splits = {"train": [data]}
        return TablePlace(data.parent, {"train": glob.escape(data.name)}, splits, _reading([data]))
    if not data.is_dir():
        raise SpecError(f"--from: there is no {data}; it takes a file, {READ}, or a folder with such a file of train.")
    splits = _splits(data)
    return TablePlace(data, {}, splits, _reading([path for paths in splits.values() for path in paths]))


def _splits(folder: Path) -> dict[str, list[Path]]:
    named = {split: split_files(folder, split, {}) for split in ("train", *VALIDATION, "test")}
    splits = {split: files for split, files in named.items() if files}
    if "train" not in splits:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise DataError(f"--from: {folder} has no file of split train; it holds {there}. Name a file, or rename it.")
    return splits


def _reading(files: Sequence[Path]) -> dict[str, str]:
    """What is not as usual: bytes that are not UTF-8, and a header with semicolons and no comma."""
    texts = [path for path in files if kind_of(path) in ("csv", "tsv", "json")]
    encoding = next((name for name in ENCODINGS if all(_is_in(path, name) for path in texts)), ENCODINGS[0])
    headers = [read_text(path, encoding).partition("\n")[0] for path in texts if kind_of(path) == "csv"]
    semicolons = bool(headers) and all(";" in header and "," not in header for header in headers)
    return ({"encoding": encoding} if encoding != ENCODINGS[0] else {}) | ({"delimiter": ";"} if semicolons else {})


def _is_in(path: Path, encoding: str) -> bool:
    try:
        read_text(path, encoding)
    except DataError:
        return False
    return True
