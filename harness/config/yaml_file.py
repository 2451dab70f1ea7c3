"""A config file of one's own, looked at before Hydra composes it: what is wrong is said of the file, with its line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from harness.ledger.errors import SpecError
from harness.ledger.names import check_plain

SEQUENCE = "tag:yaml.org,2002:seq"
MOST_BYTES = 2**20


def check_yaml(file: Path) -> Mapping[str, Any]:
    """What a file holds. Raises SpecError when it is no yaml in UTF-8 with a mapping in it."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise SpecError(f"{file}: larger than {MOST_BYTES >> 20} MiB, so it is no config.")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror}.") from error
    raw = read_yaml(text, str(file))
    if not isinstance(raw, Mapping):
        kind = "is empty" if raw is None else f"holds a {type(raw).__name__}, not a mapping"
        raise SpecError(f"{file}: the file {kind}; its lines are `key: value`, as in conf/{file.parent.name}/*.yaml.")
    return raw


def read_yaml(text: str, where: str) -> Any:
    """What a text holds, numbers as Hydra reads them. Raises SpecError when it is no yaml."""
    try:
        return yaml.load(text, Loader=get_yaml_loader())
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: {_where(error)}") from error
    except (RecursionError, ValueError) as error:
        raise SpecError(f"{where}: cannot be read as yaml ({type(error).__name__}).") from error


def quoted(text: str) -> str:
    """A text as yaml reads it: bare where it is a word, else in double quotes."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]+", text) and yaml.load(text, Loader=get_yaml_loader()) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31).strip()


def value_text(text: str) -> str:
    """A value in Hydra's grammar as a yaml holds it, so that it is read as the same value again."""
    return text if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", text) else quoted(text)


class _Dumper(yaml.SafeDumper):
    """Mappings as blocks, lists in one line."""


_Dumper.add_representer(list, lambda dumper, items: dumper.represent_sequence(SEQUENCE, items, flow_style=True))


def dumped(tree: Mapping[str, Any]) -> str:
    """A mapping as yaml, in the order of its keys, without a last line end."""
    style = {"default_flow_style": False, "width": 2**31, "sort_keys": False, "allow_unicode": True}
    return yaml.dump(dict(tree), Dumper=_Dumper, **style).rstrip()


def check_name(file: Path, raw: Mapping[str, Any]) -> None:
    """The `name` of a config is that of its file: two configs of one name would be taken for one."""
    check_plain(file.stem, str(file))
    name = raw.get("name")
    if name is None and ("defaults" not in raw or "name" in raw):
        raise SpecError(f"{file}: name must be given, and is that of the file: name: {file.stem}")
    if name != file.stem:
        held = f"name is {name!r}" if name is not None else "it takes the name of the config it starts from"
        raise SpecError(f"{file}: {held}, but the file is {file.name}; write name: {file.stem}, or rename the file.")


def _where(error: yaml.YAMLError) -> str:
    """Line and problem, in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    tab = " (blanks, not tabs, are what yaml is set in by)" if r"'\t'" in problem else ""
    return f"{f'line {mark.line + 1}: ' if mark else ''}not yaml: {problem}{tab}."
