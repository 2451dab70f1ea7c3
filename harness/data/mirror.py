"""Plain files out of the hub's cache: each held against the digest it is filed under, then laid out as a mirror tree.

A mirror holds `<hub id>/[config/]<split>-00000-of-00001.parquet` for datasets, and a model's own files for models.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.data.hub_cache import Artifact, mirror_folder
from harness.ledger.errors import DataError


def check_blobs(snapshot: Path) -> None:
    """Raises DataError at the first file that is not what the hub sent; it is deleted, so that it is fetched anew.

    The cache files a blob under its SHA-256 (large files) or its git blob id (SHA-1 of a header and the content).
    """
    for path in sorted(snapshot.rglob("*")):
        if not path.is_file() or not path.is_symlink():  # a cache without links keeps no digests
            continue
        blob = path.resolve()
        if len(blob.name) in (40, 64) and _digest(blob) != blob.name:
            blob.unlink()
            path.unlink()
            raise DataError(f"{path.name} is not what the hub sent; it was deleted")


def write_mirror(artifact: Artifact, snapshot: Path, mirror: Path) -> Path:
    """Copy or convert what is wanted into the mirror, each file whole; the folder it is in.

    Raises DataError when a split's files cannot be read as tables.
    """
    folder = mirror_folder(artifact, mirror)
    folder.mkdir(parents=True, exist_ok=True)
    if artifact.kind == "model":
        for path in (path for path in snapshot.rglob("*") if path.is_file()):
            target = folder / path.relative_to(snapshot)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
        return folder
    patterns = dict(artifact.files) or dict(zip(artifact.splits, artifact.patterns, strict=True))
    for split in artifact.splits:
        _write_split(split, sorted(snapshot.glob(patterns[split])), folder)
    return folder


def _write_split(split: str, files: Sequence[Path], folder: Path) -> None:
    """As parquet, whatever it was; parquet itself is copied byte for byte."""
    for number, path in enumerate(files):
        target = folder / f"{split}-{number:05d}-of-{len(files):05d}.parquet"
        if path.suffix == ".parquet":
            _copy(path, target)
        else:
            _convert(path, target)


def _copy(path: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, part)
    part.replace(target)


def _convert(path: Path, target: Path) -> None:
    from pyarrow import parquet

    from harness.data.files import read_table

    part = target.with_name(f".{target.name}.part")
    parquet.write_table(read_table([path]), part)
    part.replace(target)


def _digest(blob: Path) -> str:
    size = blob.stat().st_size
    total = hashlib.sha256() if len(blob.name) == 64 else hashlib.sha1(f"blob {size}\0".encode())
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
