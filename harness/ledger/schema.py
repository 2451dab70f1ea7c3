"""The record's JSON schema, made from the dataclasses: `python -m harness.ledger.schema > docs/record.schema.json`."""

import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.paths import to_json
from harness.ledger.record import Record
from harness.ledger.spec import RunSpec

_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_ABOUT = (
    "What one run said: runs/<id>/record.json. Written once, renamed into place last, never edited. What was not "
    "measured is absent with a reason; NaN and infinities do not exist."
)
_READ_BY_ANALYSIS = ("name", "metric", "direction")  # of a spec's parts; the rest is open, as parts have many kinds


def record_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a record of this version."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://peftlab.invalid/record.schema.json",
        "title": f"peftlab record, version {RECORD_VERSION}",
        "description": _ABOUT,
        **_object(Record),
        "if": {"properties": {"status": {"const": "done"}}},
        "then": {"properties": {"failure": {"type": "null"}, "scores": {"required": ["test"]}}},
        "else": {"properties": {"failure": {"type": "object"}}},
    }


def _object(cls: Any) -> dict[str, Any]:
    """Every field is required but those with a neutral value, and there is no other."""
    hints = typing.get_type_hints(cls)
    properties = {f.name: _spec() if f.name == "spec" else _of(hints[f.name]) for f in fields(cls)}
    properties = {f.name: properties[f.name] | dict(f.metadata.get("schema", {})) for f in fields(cls)}
    required = [f.name for f in fields(cls) if not _is_late(f)]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _of(hint: Any) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each) for each in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _of(inner[0])}
    if origin is Mapping:
        return {"type": "object"} | ({} if inner[1] is Any else {"additionalProperties": _of(inner[1])})
    return _object(hint) if is_dataclass(hint) else {} if hint is Any else {"type": _PLAIN[hint]}


def _spec() -> dict[str, Any]:
    """Of a spec, what every reader counts on: its parts, and some of their fields."""
    hints = typing.get_type_hints(RunSpec)
    known = [f for f in fields(RunSpec) if not _is_late(f)]
    parts = {f.name: _part(hints[f.name]) if is_dataclass(hints[f.name]) else _of(hints[f.name]) for f in known}
    return {"type": "object", "required": list(parts), "properties": parts}


def _part(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    read = {name: _of(hints[name]) for name in _READ_BY_ANALYSIS if name in hints}
    return {"type": "object", "required": list(read), "properties": read}


def _is_late(field: Field[Any]) -> bool:
    return "neutral" in field.metadata


if __name__ == "__main__":
    sys.stdout.write(to_json(record_schema()))
