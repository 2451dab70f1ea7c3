"""Where rows come from: a signature that is cheap to take, and tables that are read only when needed."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.data.files import image_files, read_table
from harness.data.hub import dataset_snapshot
from harness.data.layout import READ, kind_of, mirrored_data, split_files, upstream_splits
from harness.data.reshape import reshape
from harness.ledger.dataset_spec import (
    BuiltinData,
    DatasetSpec,
    FolderData,
    HubData,
    ImageClassification,
    VisionLanguage,
)
from harness.ledger.errors import DataError, NotHere, SpecError, nearest

BUILDERS = ("digits", "kinship", "shapes_vqa", "stdlib_docs")


@dataclass(frozen=True)
class Source:
    """`signature` changes when the data does; `read` gives the upstream splits and what the record says of them.

    content: SHA-256 of local files, without reading tables; None for rows that are made here or are of the hub.
    """

    signature: str
    read: Callable[[], tuple[dict[str, pa.Table], dict[str, Any]]]
    content: Callable[[], str] | None = None


def find_source(spec: DatasetSpec) -> Source:
    """Raises DataError when the data is nowhere; nothing large is read yet."""
    source = _upstream(spec)
    if not spec.unnest and not spec.require:
        return source

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        tables, known = source.read()
        return {split: reshape(spec, table) for split, table in tables.items()}, known

    return replace(source, read=read)


def _upstream(spec: DatasetSpec) -> Source:
    if isinstance(spec.source, BuiltinData):
        return _builtin(spec.source)
    if isinstance(spec.source, FolderData):
        return _folder(spec, _expanded(spec.source.path), spec.source.files, {"kind": "folder"})
    return _hub(spec, spec.source)


def _expanded(path: str) -> Path:
    """With ~ and variables of the environment put in. Raises DataError for a variable that is not set."""
    expanded = os.path.expandvars(path)
    if left := re.search(r"\$(\w+|\{\w+\})", expanded):
        raise DataError(f"dataset.source.path: {path} names a variable, and {left[0]} is not set.")
    return Path(expanded).expanduser()


def _builtin(source: BuiltinData) -> Source:
    if source.builder not in BUILDERS:
        raise SpecError(
            f"dataset.source.builder: unknown choice '{source.builder}'.{nearest(source.builder, BUILDERS)}"
        )
    builder = import_module(f"harness.data.builtin.{source.builder}")

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        rows = builder.build(source.options)
        tables = {split: pa.Table.from_pylist(examples) for split, examples in rows.items()}
        return tables, {"kind": "builtin", "builder": source.builder, "sha256": _content(rows)}

    return Source(builder.fingerprint(), read)


def _hub(spec: DatasetSpec, source: HubData) -> Source:
    known = {"kind": "hub", "id": source.id, "config": source.config}
    if (mirrored := mirrored_data(spec, source)) is not None:
        return _folder(spec, *mirrored, known | {"revision": "mirror"})

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        folder = dataset_snapshot(spec, source)
        inner = folder if source.files else folder / (source.config or "")
        return _folder(spec, inner, source.files, known | {"revision": folder.name}).read()

    return Source(f"hub/{source.id}/{source.config}/{source.revision}", read)


def _folder(spec: DatasetSpec, folder: Path, named: Mapping[str, str], known: Mapping[str, Any]) -> Source:
    """The files of one folder; `named` gives patterns by split, else names begin with the split's."""
    if not folder.is_dir():
        raise NotHere(f"dataset {spec.name}: there is no folder {folder}; correct dataset.source.path.")
    files = {split: split_files(folder, split, named) for split in upstream_splits(spec)}
    if absent := [split for split, paths in files.items() if not paths]:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise NotHere(
            f"dataset {spec.name}: {folder} has no file of split {' or '.join(absent)}; it holds {there}. "
            f"What is looked for: {READ}, the shards SPLIT-00000.…, or a folder SPLIT, here or in data/."
        )
    image = spec.task.image if isinstance(spec.task, ImageClassification | VisionLanguage) else None

    def tables() -> dict[str, pa.Table]:
        return {split: _table(spec, paths, image) for split, paths in files.items()}

    paths = [path for paths in files.values() for path in paths]
    pictures = image_files(tables(), image) if image and any(kind_of(path) != "parquet" for path in paths) else []

    def content() -> str:
        return _file_digest([*paths, *pictures])

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        return tables(), {**known, "sha256": content()}

    return Source(f"{folder}/{[_stat(path) for path in [*paths, *pictures]]}", read, content)


def _table(spec: DatasetSpec, paths: list[Path], image: str | None) -> pa.Table:
    if isinstance(spec.source, FolderData):
        return read_table(paths, encoding=spec.source.encoding, delimiter=spec.source.delimiter, image=image)
    return read_table(paths, image=image)


def _stat(path: Path) -> tuple[str, int, int]:
    """What changes when a file does. Raises DataError when there is none."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"the file {path} cannot be read: {error.strerror}.") from error
    return (path.name, stat.st_size, stat.st_mtime_ns)


def _file_digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _content(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    total = hashlib.sha256()
    for split, examples in sorted(rows.items()):
        for row in examples:
            total.update(repr((split, sorted(row.items()))).encode())
    return total.hexdigest()
