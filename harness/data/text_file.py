"""The text of a file, gzip or not, decoded strictly: a byte that is not of its encoding is an error, never a guess."""

import gzip
import zlib
from pathlib import Path

from harness.ledger.errors import DataError


def read_text(path: Path, encoding: str) -> str:
    """The text without a byte order mark. Raises DataError naming the line and the byte that cannot be decoded."""
    raw = _bytes(path)
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"dataset.source.encoding: '{encoding}' is no encoding of text; utf-8, cp1252 and utf-16 are."
        ) from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {line} is not {encoding} (byte 0x{raw[error.start]:02x} at offset {error.start}); "
            "name the file's encoding in dataset.source.encoding (cp1252, utf-16, …), or save it as UTF-8."
        ) from error
    except UnicodeError as error:
        raise DataError(f"{path}: not {encoding}: {error}; correct dataset.source.encoding.") from error


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
