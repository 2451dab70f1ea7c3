"""One config as a mapping, read from its file: much faster than composing it, so that all can be listed.

A config that starts from anything but others of its group, and then itself, is composed by Hydra.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.groups import choices, conf_dirs
from harness.config.yaml_file import check_yaml
from harness.ledger.errors import SpecError, nearest

SELF = "_self_"


def card_file(group: str, name: str) -> Path:
    """The file of a choice: your own before the project's. Raises SpecError when there is none."""
    if name not in (known := choices(group)):
        raise SpecError(f"{group}: unknown choice '{name}'.{nearest(name, known)}")
    return next(path for folder in conf_dirs() if (path := folder / group / f"{name}.yaml").is_file())


def card(group: str, name: str) -> dict[str, Any]:
    """The config with the ones it starts from, as Hydra merges them. Raises SpecError for a file that is no config."""
    raw = check_yaml(card_file(group, name))
    bases = raw.get("defaults", [SELF])
    if not isinstance(bases, list) or SELF not in bases or not set(map(str, bases)) <= {SELF, *choices(group)}:
        return _composed(group, name)
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merged(merged, _without_defaults(raw) if base == SELF else card(group, base))
    return merged


def _without_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key != "defaults"}


def _merged(under: Any, over: Any) -> Any:
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    both = {key: _merged(under[key], over[key]) for key in over if key in under}
    return {**under, **over, **both}


def _composed(group: str, name: str) -> dict[str, Any]:
    from harness.config.compose import compose_part
    from harness.config.overrides import assign

    return compose_part(group, [assign(group, name)])
