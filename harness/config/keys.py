"""Every key that a run has, from the dataclasses of its spec: where a key that stands alone belongs."""

import types
import typing
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin

from harness.config.overrides import Assignment
from harness.ledger.spec import RunSpec
from methods.spec import Kind


@cache
def key_paths() -> tuple[str, ...]:
    """Dotted paths in the order of the spec: method.name, …, method.update.rank, …, recipe.lr, …"""
    return tuple(dict.fromkeys(path for path, _ in _fields(RunSpec, "")))


@cache
def _later() -> tuple[str, ...]:
    """Keys that came later and have a neutral value, so that a yaml may leave them out."""
    return tuple(dict.fromkeys(path for path, field in _fields(RunSpec, "") if "neutral" in field.metadata))


def as_hydra_takes(word: Assignment) -> str:
    """The word as typed; a key that the yaml may leave out is added to it, or changed."""
    later = word.sign == "" and any(word.key == key or word.key.startswith(f"{key}.") for key in _later())
    return f"++{word.word}" if later else word.word


def where_it_belongs(word: Assignment) -> str:
    """` Write method.update.rank=8.` for `rank=8`; empty when no key of a run ends so."""
    end = "." + word.key
    ends = [path for path in key_paths() if path.endswith(end) or path.rpartition(".")[0].endswith(end)]
    if not ends:
        return ""
    keys = dict.fromkeys(path[: path.index(end) + len(end)] if end in path else path for path in ends)
    shortest = sorted(keys, key=lambda key: key.count("."))[:3]
    return f" Write {' or '.join(f'{key}={word.text}' for key in shortest)}."


def _fields(kind: Any, prefix: str) -> Iterator[tuple[str, Field[Any]]]:
    if get_origin(kind) in (Union, types.UnionType):
        for each in get_args(kind):
            yield from _fields(each, prefix)
    if isinstance(kind, type) and issubclass(kind, Kind) and not is_dataclass(kind):
        for each in kind.own().values():
            yield from _fields(each, prefix)
    if not is_dataclass(kind):
        return
    hints = typing.get_type_hints(kind)
    for field in fields(kind):
        if hints[field.name] == RunSpec | None:  # of a source run: the same keys once more, after `source.`
            continue
        yield f"{prefix}{field.name}", field
        yield from _fields(hints[field.name], f"{prefix}{field.name}.")
