"""Reads an archive of records that a stranger made: only files of runs are taken, each to a place that we name."""

import gzip
import lzma
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

from harness.ledger.errors import RecordError

PLAN = "plan.json"
MAX_FILES, MAX_BYTES = 200_000, 4 * 10**9  # of one archive, unpacked
_RUN = r"[0-9a-f]{16}/(?:record\.json|spec\.json|events\.jsonl|predictions\.parquet|[a-z][a-z0-9_]*/[0-9a-f]{16}\.json)"
_TAKEN = re.compile(rf"(?:[^\\]*/)?({_RUN}|{re.escape(PLAN)})")
_UNREADABLE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, NotImplementedError, ValueError),
)


def unpack(archive: Path, folder: Path) -> None:
    """Write the records, predictions, side records and the plan of a .zip, .tar or .tar.gz into `folder`.

    Anything else in it is passed over: no name of a member is used as a path, and links are no files. Raises
    RecordError for what is no such archive, holds a file twice, or is larger than MAX_FILES or MAX_BYTES when unpacked.
    """
    left = MAX_BYTES
    try:
        with closing(_files(archive)) as files:
            for count, (name, stream) in enumerate(files, start=1):
                if count > MAX_FILES:
                    raise RecordError(f"{archive} holds more than {MAX_FILES:,} files and is not read.")
                place = _TAKEN.fullmatch(name)
                if place is not None and stream is not None:
                    left -= _write(stream, folder / place[1], archive, left)
    except _UNREADABLE as error:
        raise RecordError(
            f"{archive} is no archive that can be read ({error}); `peftlab bundle sweep=NAME` makes one."
        ) from error


def _write(stream: IO[bytes], place: Path, archive: Path, left: int) -> int:
    """Copy at most `left` bytes; returns how many there were. What an archive says of sizes is not believed."""
    if place.exists():
        raise RecordError(f"{archive} holds {place.parent.name}/{place.name} twice and is not read.")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        return _copy(stream, file, archive, left)


def _copy(stream: IO[bytes], file: IO[bytes], archive: Path, left: int) -> int:
    size = 0
    while chunk := stream.read(1 << 20):
        size += len(chunk)
        if size > left:
            raise RecordError(f"{archive} is larger than {MAX_BYTES / 1e9:g} GB when unpacked and is not read.")
        file.write(chunk)
    return size


def _files(archive: Path) -> Generator[tuple[str, IO[bytes] | None], None, None]:
    """(name, content) of each member; no content for what is no plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                yield member.filename, None if member.is_dir() else members.open(member)
        return
    with tempfile.TemporaryFile() as plain:
        _plain_tar(archive, plain)
        with tarfile.open(fileobj=plain, mode="r:") as members:
            for member in members:
                yield member.name, members.extractfile(member) if member.isreg() and not member.issparse() else None


def _plain_tar(archive: Path, plain: IO[bytes]) -> None:
    """Unzip it first, up to the limit: what tarfile holds in memory is then no larger than a file that was allowed."""
    with archive.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(archive) if zipped else archive.open("rb") as stream:
        _copy(stream, plain, archive, MAX_BYTES)
    plain.seek(0)
