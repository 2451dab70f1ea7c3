"""CSV and TSV: every column is text, as it is written; what is a number or a class is decided where it is used."""

import csv
import io
from pathlib import Path

import pyarrow as pa

from harness.data.text_file import read_text
from harness.ledger.errors import DataError

_LARGEST = 2**31 - 1  # characters of one field; the csv module's own limit is 131,072


def read_delimited(path: Path, encoding: str, delimiter: str) -> pa.Table:
    """The rows below the header line, quoted as RFC 4180 says. An empty cell is an empty text.

    Raises DataError at a line that has more or fewer fields than the header, or is quoted wrongly.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise DataError(f"dataset.source.delimiter: {delimiter!r} is not one character that may stand between fields.")
    csv.field_size_limit(_LARGEST)
    lines = csv.reader(io.StringIO(read_text(path, encoding), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(lines, [])
        rows = [_checked(path, lines.line_num, fields, header) for fields in lines if fields]
    except csv.Error as error:
        raise DataError(f"{path}: line {lines.line_num}: {error}; a quote inside a quoted field is doubled.") from error
    if not header:
        raise DataError(f"{path}: no header line; the first line names the columns.")
    if len(set(header)) < len(header):
        raise DataError(f"{path}: the header names a column twice: {', '.join(header)}.")
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(header, columns, strict=True)})


def _checked(path: Path, line: int, fields: list[str], header: list[str]) -> list[str]:
    if len(fields) != len(header):
        raise DataError(
            f"{path}: line {line} has {len(fields)} fields and the header {len(header)}; quote a field that holds the "
            "delimiter, or name another one in dataset.source.delimiter."
        )
    return fields
