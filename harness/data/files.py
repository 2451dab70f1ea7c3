"""Plain data files to Arrow tables: Parquet, CSV and JSON, with class numbers turned into class names."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from harness.ledger.errors import DataError


def read_table(paths: Sequence[Path]) -> pa.Table:
    """The rows of these files, one after the other; raises DataError for a file that is not what its name says."""
    return pa.concat_tables([_named_classes(_read(path)) for path in sorted(paths)], promote_options="default")


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path, memory_map=True)
        if path.suffix == ".csv":
            return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
        return pa.Table.from_pylist(_json_rows(path))
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise DataError(f"{path}: not a readable {path.suffix[1:]} file: {str(error).splitlines()[0]}") from error


def _json_rows(path: Path) -> list[dict[str, object]]:
    """A JSON array, or one JSON object a line."""
    text = path.read_text(encoding="utf-8")
    return (
        json.loads(text)
        if text.lstrip().startswith("[")
        else [json.loads(line) for line in text.splitlines() if line.strip()]
    )


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
    """What the `datasets` library wrote into the file's schema."""
    raw = (table.schema.metadata or {}).get(b"huggingface")
    found = json.loads(raw)["info"]["features"] if raw else {}
    return {name: feature for name, feature in found.items() if name in table.column_names}
