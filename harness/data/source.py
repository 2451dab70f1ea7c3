"""Where rows come from: a signature that is cheap to take, and tables that are read only when needed."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.data.files import SUFFIXES, read_table
from harness.data.hub import dataset_snapshot, mirrored
from harness.ledger.dataset_spec import BuiltinData, DatasetSpec, FolderData, HubData
from harness.ledger.errors import DataError, SpecError, nearest

BUILDERS = ("digits", "kinship", "stdlib_docs")


@dataclass(frozen=True)
class Source:
    """`signature` changes when the data does; `read` gives the upstream splits and what the record says of them."""

    signature: str
    read: Callable[[], tuple[dict[str, pa.Table], dict[str, Any]]]


def find_source(spec: DatasetSpec) -> Source:
    """Raises DataError when the data is nowhere; nothing large is read yet."""
    if isinstance(spec.source, BuiltinData):
        return _builtin(spec.source)
    if isinstance(spec.source, FolderData):
        folder = Path(os.path.expandvars(spec.source.path)).expanduser()
        return _folder(spec, folder, spec.source.files, {"kind": "folder"})
    return _hub(spec, spec.source)


def _builtin(source: BuiltinData) -> Source:
    if source.builder not in BUILDERS:
        raise SpecError(
            f"dataset.source.builder: unknown choice '{source.builder}'.{nearest(source.builder, BUILDERS)}"
        )
    builder = import_module(f"harness.data.{source.builder}")

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        rows = builder.build(source.options)
        tables = {split: pa.Table.from_pylist(found) for split, found in rows.items()}
        return tables, {"kind": "builtin", "builder": source.builder, "sha256": _content(rows)}

    return Source(builder.fingerprint(), read)


def _hub(spec: DatasetSpec, source: HubData) -> Source:
    known = {"kind": "hub", "id": source.id, "config": source.config}
    if (folder := mirrored(source.id)) is not None:
        inner = folder / (source.config or "")
        inner = inner if inner.is_dir() else folder
        named = {} if _files(inner, spec.split.train, {}) else source.files  # a mirror may hold upstream's own files
        return _folder(spec, folder if named else inner, named, known | {"revision": "mirror"})

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        folder = dataset_snapshot(spec, source)
        inner = folder if source.files else folder / (source.config or "")
        return _folder(spec, inner, source.files, known | {"revision": folder.name}).read()

    return Source(f"hub/{source.id}/{source.config}/{source.revision}", read)


def _folder(spec: DatasetSpec, folder: Path, named: Mapping[str, str], known: Mapping[str, Any]) -> Source:
    """The files of one folder; `named` gives patterns by split, else names begin with the split's."""
    if not folder.is_dir():
        raise DataError(f"dataset {spec.name}: there is no folder {folder}; correct dataset.source.path.")
    files = {split: _files(folder, split, named) for split in _wanted(spec)}
    if absent := [split for split, found in files.items() if not found]:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise DataError(f"dataset {spec.name}: {folder} has no file of split {' or '.join(absent)}; it holds {there}.")
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for found in files.values() for path in found]

    def read() -> tuple[dict[str, pa.Table], dict[str, Any]]:
        tables = {split: read_table(found) for split, found in files.items()}
        return tables, {**known, "sha256": _file_digest([path for found in files.values() for path in found])}

    return Source(f"{folder}/{stats}", read)


def _wanted(spec: DatasetSpec) -> list[str]:
    return list(dict.fromkeys(split for split in (spec.split.train, spec.split.validation, spec.split.test) if split))


def _files(folder: Path, split: str, named: Mapping[str, str]) -> list[Path]:
    if split in named:
        return sorted(folder.glob(named[split]))
    return sorted(
        path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name.split(".")[0].split("-")[0] == split
    )


def _file_digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _content(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    total = hashlib.sha256()
    for split, found in sorted(rows.items()):
        for row in found:
            total.update(repr((split, sorted(row.items()))).encode())
    return total.hexdigest()
