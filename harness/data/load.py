"""Rows encoded once for each (dataset card, tokenizer), kept as Arrow files, and shared by all runs and processes."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.data.classes import with_class_names
from harness.data.duplicates import shared_rows
from harness.data.rows import Rows, write_rows
from harness.data.source import Source, find_source
from harness.data.splits import SplitRows, digest, divide, row_keys
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError, NotHere
from harness.ledger.identity import canonical
from harness.ledger.paths import to_json, write_whole

FORMAT = 2  # of the encoded files; a bump encodes everything anew
SPLITS = ("train", "validation", "test")
Example = Mapping[str, Any]  # an encoded row, with its "id" and "length"


@dataclass(frozen=True)
class Encoder:
    """How raw rows become examples. key: of the processor; equal keys give equal examples."""

    encode: Callable[[Mapping[str, Any]], dict[str, Any]]  # raises DataError for a row that is not what the card says
    length: Callable[[Mapping[str, Any]], int]  # input tokens of an example
    key: str


class Split(Sequence[Example]):
    """Examples in the order of the source, with `lengths` in tokens beside them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.lengths: list[int] = rows.column("length")

    @cached_property
    def ids(self) -> list[str]:
        """The key of each row; no other column is read."""
        return list(map(str, self._rows.column("id")))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        return self._rows[row]


@dataclass(frozen=True)
class Data:
    """facts: source (revision or SHA-256); by split, n, digest of the row keys, share of truncated rows; and, where
    there are any, `shared_rows`: how many rows of a split are also in an earlier one."""

    train: Split
    validation: Split
    test: Split
    facts: dict[str, Any]


def load_data(spec: DatasetSpec, encoder: Encoder, cache: Path) -> Data:
    """The three splits, encoded; a later call with the same card, data and `encoder.key` only opens files.

    Raises DataError when the data is nowhere, or a row is not what the card says; NotHere when it is not the content
    that the run was planned for.
    """
    source = find_source(spec)
    card = canonical(replace(spec, content=None))  # the signature already tells one content from another
    words = f"{FORMAT}/{card}/{encoder.key}/{source.signature}"
    folder = cache / "data" / f"{spec.name}-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
    if not (folder / "facts.json").is_file():
        try:
            _prepare(spec, encoder, source, folder)
        except DataError as error:
            raise named(spec, error) from error
    splits = {name: Split(Rows(folder / f"{name}.arrow")) for name in SPLITS}
    facts = json.loads((folder / "facts.json").read_text())
    if spec.content is not None and not facts["source"]["sha256"].startswith(spec.content):
        raise NotHere(f"dataset {spec.name} changed after this run was planned; the same command plans it anew.")
    return Data(**splits, facts=facts)


def named(spec: DatasetSpec, error: DataError) -> DataError:
    """The error with a sentence that begins with the dataset that it is about."""
    return error if str(error).startswith("dataset ") else DataError(f"dataset {spec.name}: {error}")


def _prepare(spec: DatasetSpec, encoder: Encoder, source: Source, folder: Path) -> None:
    """Written aside, then renamed whole; when another process was faster, its equal copy stays."""
    tables, known = source.read()
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    aside.mkdir(parents=True)
    try:
        facts = {"source": known, "splits": {}}
        parts = divide(spec, tables)
        tables = with_class_names(spec, tables, parts)
        for name, part in parts.items():
            facts["splits"][name] = _write(spec, encoder, tables[part.source], part, aside / f"{name}.arrow")
        if shared := shared_rows(spec, tables, parts):
            facts["shared_rows"] = shared
        write_whole(aside / "facts.json", to_json(facts))
        try:
            aside.rename(folder)
        except OSError:
            if not (folder / "facts.json").is_file():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(spec: DatasetSpec, encoder: Encoder, table: pa.Table, part: SplitRows, path: Path) -> dict[str, Any]:
    keys = row_keys(spec.split, part.source, table)
    shortened = 0

    def encoded() -> Iterator[Example]:
        nonlocal shortened
        for row, raw in zip(part.rows, _raw(table, part.rows), strict=True):
            try:
                example = encoder.encode(raw)
            except DataError as error:
                raise DataError(f"row {keys[row]}: {error}") from error
            shortened += example.pop("shortened", 0)
            yield {"id": keys[row], **example, "length": encoder.length(example)}

    write_rows(path, encoded())
    n = len(part.rows)
    return {"n": n, "digest": digest(keys[row] for row in part.rows), "truncated": shortened / n, "from": part.source}


def _raw(table: pa.Table, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Plain dicts in small batches, so that a large image set never lies in memory as objects."""
    for start in range(0, len(rows), 256):
        yield from table.take(pa.array(rows[start : start + 256])).to_pylist()
