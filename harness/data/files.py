"""Plain data files to Arrow tables: Parquet, CSV, TSV and JSON, with class numbers turned into class names."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.types as kinds
from pyarrow import parquet

from harness.data.delimited import read_delimited
from harness.data.json_rows import read_json
from harness.data.layout import kind_of
from harness.ledger.errors import DataError

_DELIMITERS = {"csv": ",", "tsv": "\t"}


def read_table(
    paths: Sequence[Path], *, encoding: str = "utf-8", delimiter: str | None = None, image: str | None = None
) -> pa.Table:
    """The rows of these files, one after the other; raises DataError for a file that is not what its name says.

    delimiter: of CSV and TSV files; None: a comma and a tab. image: a column whose texts are paths of images, relative
    to the file that names them; they come back absolute.
    """
    tables = {path: _named_classes(_read(path, encoding, delimiter)) for path in sorted(paths)}
    if image is not None:
        tables = {path: _absolute(table, image, path.resolve().parent) for path, table in tables.items()}
    try:
        return pa.concat_tables(tables.values(), promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(_difference(tables) or f"{paths[0].parent}: {str(error).splitlines()[0]}") from error


def image_files(tables: Mapping[str, pa.Table], image: str) -> list[Path]:
    """The files that the column names, each once."""
    columns = [table.column(image).to_pylist() for table in tables.values() if image in table.column_names]
    return [
        Path(name) for name in dict.fromkeys(value for values in columns for value in values) if isinstance(name, str)
    ]


def _absolute(table: pa.Table, image: str, folder: Path) -> pa.Table:
    if image not in table.column_names or not _is_text(table.schema.field(image).type):
        return table
    values = [value and str(folder / value) for value in table.column(image).to_pylist()]
    return table.set_column(table.column_names.index(image), image, pa.array(values, pa.string()))


def _is_text(kind: pa.DataType) -> bool:
    return kinds.is_string(kind) or kinds.is_large_string(kind)


def _read(path: Path, encoding: str, delimiter: str | None) -> pa.Table:
    kind = kind_of(path)
    if kind in _DELIMITERS:
        return read_delimited(path, encoding, delimiter or _DELIMITERS[kind])
    if kind == "json":
        return read_json(path, encoding)
    try:
        return parquet.read_table(path, memory_map=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable parquet file: {str(error).splitlines()[0]}") from error


def _difference(tables: dict[Path, pa.Table]) -> str | None:
    """The sentence on the first column that two files hold as different kinds."""
    first: dict[str, Path] = {}
    for path, table in tables.items():
        for field in table.schema:
            other = first.setdefault(field.name, path)
            kind = tables[other].schema.field(field.name).type
            if kind != field.type:
                return f"column '{field.name}' is {kind} in {other} and {field.type} in {path}; make them one kind."
    return None


def _named_classes(table: pa.Table) -> pa.Table:
    """Columns that the file itself declares as classes hold their names; -1, "no label", becomes null."""
    for name, feature in _features(table).items():
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and pa.types.is_integer(table.schema.field(name).type)
        ):
            names = [*map(str, feature["names"])]
            values = [
                names[i] if i is not None and 0 <= i < len(names) else None for i in table.column(name).to_pylist()
            ]
            table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table


def _features(table: pa.Table) -> dict[str, object]:
    """What the `datasets` library wrote into the file's schema; nothing where that cannot be read."""
    raw = (table.schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(raw)["info"]["features"] if raw else {}
        return {name: feature for name, feature in features.items() if name in table.column_names}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
