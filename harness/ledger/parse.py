"""Plain dicts to frozen dataclasses, strictly: a wrong key, choice or type is one sentence that names its path.

Knows dataclasses, unions of dataclasses told apart by their `kind`, families of kinds that others may join, Optional,
Literal, tuple[X, ...], Mapping[str, X], and the four plain kinds. No dataclass default is used for an absent key: what
a run is must be written in the config.
Only a field that came later, with `metadata={"neutral": value}`, has that value where it is absent.
The metadata of a field may also hold the range of its numbers (`harness.ledger.ranges`).
"""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from harness.ledger.errors import SpecError, nearest
from harness.ledger.ranges import check_range
from methods.spec import Kind

T = TypeVar("T")


def parse(kind: type[T], raw: object, where: str) -> T:
    """Build `kind` from plain data; `where` is the dotted path that errors name.

    Raises SpecError when a key is unknown or absent, or a value has the wrong type.
    """
    return _value(kind, raw, where)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return {f.name: hint for f in fields(cls) for hint in [typing.get_type_hints(cls)[f.name]]}


def _value(kind: Any, raw: Any, where: str) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return _frozen(raw)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), raw, where)
    if origin is Literal:
        return _literal(get_args(kind), raw, where)
    if origin is tuple:
        if not isinstance(raw, list | tuple):
            raise SpecError(f"{where}: {raw!r} is not a list.")
        return tuple(_value(get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin in (Mapping, dict):
        if not isinstance(raw, Mapping):
            raise SpecError(f"{where}: {raw!r} is not a mapping.")
        return {_key(key, where): _value(get_args(kind)[1], item, f"{where}.{key}") for key, item in raw.items()}
    if is_dataclass(kind):
        return _dataclass(kind, raw, where)
    if isinstance(kind, type) and issubclass(kind, Kind):
        return _of_family(kind, raw, where)
    return _plain(kind, raw, where)


def _dataclass(cls: Any, raw: Any, where: str) -> Any:
    if isinstance(raw, cls):
        return raw
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: {raw!r} is not a mapping with {', '.join(_hints(cls))}.")
    hints = _hints(cls)
    for key in raw:
        if key not in hints:
            raise SpecError(f"{where}.{key}: unknown key.{nearest(str(key), hints)}")
    raw = {f.name: f.metadata["neutral"] for f in fields(cls) if "neutral" in f.metadata} | dict(raw)
    if absent := [key for key in hints if key not in raw]:
        raise SpecError(f"{where}: {', '.join(absent)} must be given; {cls.__name__} takes {', '.join(hints)}.")
    values = {key: _value(hint, raw[key], f"{where}.{key}") for key, hint in hints.items()}
    for field in fields(cls):
        check_range(field.metadata, values[field.name], f"{where}.{field.name}")
    return cls(**values)


def _union(kinds: tuple[Any, ...], raw: Any, where: str) -> Any:
    if raw is None and type(None) in kinds:
        return None
    choices = [kind for kind in kinds if kind is not type(None)]
    if len(choices) == 1:
        return _value(choices[0], raw, where)
    if not all(is_dataclass(kind) for kind in choices):
        return _first_that_fits(choices, raw, where)
    for kind in choices:
        if isinstance(raw, kind):
            return raw
    tags = {get_args(_hints(kind)["kind"])[0]: kind for kind in choices}
    tag = raw.get("kind") if isinstance(raw, Mapping) else None
    if tag not in tags:
        raise SpecError(f"{where}.kind: unknown choice {tag!r}.{nearest(str(tag), tags)}")
    return _value(tags[tag], raw, where)


def _of_family(family: type[Kind], raw: Any, where: str) -> Any:
    if isinstance(raw, family):
        return raw
    tag = raw.get("kind") if isinstance(raw, Mapping) else None
    try:
        kind = family.of_kind(tag) if isinstance(tag, str) else None
    except LookupError as error:
        raise SpecError(f"{where}.kind: {error}.") from error
    if kind is None:
        elsewhere = " One from elsewhere wants its package, or its file's folder in PYTHONPATH (docs/check-method.md)."
        raise SpecError(f"{where}.kind: unknown choice {tag!r}.{nearest(str(tag), family.names())}{elsewhere}")
    return _dataclass(kind, raw, where)


def _first_that_fits(choices: list[Any], raw: Any, where: str) -> Any:
    for kind in choices:
        try:
            return _value(kind, raw, where)
        except SpecError:
            continue
    raise SpecError(f"{where}: {raw!r} is none of {', '.join(_name(kind) for kind in choices)}.")


def _literal(choices: tuple[Any, ...], raw: Any, where: str) -> Any:
    if raw not in choices or isinstance(raw, bool) != any(isinstance(c, bool) for c in choices if c == raw):
        raise SpecError(f"{where}: unknown choice {raw!r}.{nearest(str(raw), map(str, choices))}")
    return raw


def _plain(kind: Any, raw: Any, where: str) -> Any:
    if kind is float and type(raw) is int:  # 1 and 1.0 are one setting, hence one id
        return float(raw)
    if kind is str and isinstance(raw, bool | int | float):
        hint = (
            " YAML reads an unquoted yes, no, on, off, true or false as a truth value." if isinstance(raw, bool) else ""
        )
        raise SpecError(f"{where}: {raw!r} is not a text; put it in quotes.{hint}")
    if type(raw) is not kind:
        raise SpecError(f"{where}: {raw!r} is not {_name(kind)}.")
    if kind is float and not math.isfinite(raw):
        raise SpecError(f"{where}: {raw} is not a finite number.")
    return raw


def _key(key: Any, where: str) -> str:
    if isinstance(key, bool):  # which word it was is not known any more
        raise SpecError(f"{where}: a key is {key!r}; put it in quotes: YAML reads an unquoted yes, no, on or off so.")
    return str(key)


def _name(kind: Any) -> str:
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _frozen(raw: Any) -> Any:
    if isinstance(raw, Mapping):
        return {str(key): _frozen(item) for key, item in raw.items()}
    if isinstance(raw, list | tuple):
        return tuple(_frozen(item) for item in raw)
    return raw
