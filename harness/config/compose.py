"""Hydra composes, once per distinct choice; what leaves this file is plain data.

Nothing here knows what a key means: `harness.planning.plan` parses the result into frozen specs.
"""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.ledger.errors import SpecError, nearest

GROUPS = ("method", "model", "dataset", "recipe", "sweep", "cluster", "tracker")
ALIASES = {"size": "model.size", "peft.type": "method.update.type"}


def conf_dirs() -> list[Path]:
    """Where configs are looked for: $PEFTLAB_CONF (your own, first), then the project's."""
    own = os.environ.get("PEFTLAB_CONF")
    return ([Path(own).resolve()] if own and Path(own).is_dir() else []) + [
        Path(__file__).resolve().parents[2] / "conf"
    ]


@cache
def choices(group: str) -> tuple[str, ...]:
    """The names a group offers, from the files on disk."""
    return tuple(sorted({path.stem for folder in conf_dirs() for path in (folder / group).glob("*.yaml")}))


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Hydra's own grammar, and the bare name of a sweep; raises SpecError with one sentence for any other word."""
    words = [f"sweep={word}" if word in choices("sweep") else word for word in words]
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise SpecError(
            f"cannot read the override: {_first_line(error)} Write key=value, as in method=lora."
        ) from error
    for override in overrides:
        if override.key_or_group.startswith("hydra"):
            raise SpecError(
                f"{override.key_or_group}: Hydra composes the config here and starts nothing; where runs are done is "
                f"cluster=NAME, with one of: {', '.join(choices('cluster'))}."
            )
        if (key := canonical_key(override.key_or_group)).startswith("++"):
            override.type = OverrideType.FORCE_ADD
        override.key_or_group = key.removeprefix("++")
    return overrides


def canonical_key(key: str) -> str:
    """A key as the config has it: `size` is model.size; `peft.r` an option of the library's, in the yaml or not."""
    if key.startswith("source."):  # of the run that this one starts from
        inner = canonical_key(key.removeprefix("source."))
        return f"++source.{inner.removeprefix('++')}" if inner.startswith("++") else f"source.{inner}"
    if key.startswith("peft.") and key not in ALIASES:
        return f"++method.update.options.{key.removeprefix('peft.')}"
    return ALIASES.get(key, key)


def expand(override: Override) -> list[str]:
    """The words that one override stands for: `method=lora,cla` gives two, `seed=range(3)` three."""
    key = override.get_key_element()
    if override.is_delete():
        return [override.input_line or key]
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if isinstance(pattern := override.value(), Glob):
        return [f"{key}={name}" for name in pattern.filter(list(choices(override.key_or_group)))]
    if override.is_discrete_sweep():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    raise SpecError(f"{override.input_line}: only lists, range(...) and glob(...) can be swept.")


def compose_plain(words: Sequence[str]) -> dict[str, Any]:
    """The whole config for these override words, resolved, as plain data. Raises SpecError naming the wrong word."""
    return _compose("config", words)


def compose_part(group: str, words: Sequence[str]) -> dict[str, Any]:
    """One group of the config for the words that touch it; the choice alone is composed, in half the time."""
    chosen = [word.partition("=")[2] for word in words if word.startswith(f"{group}=")]
    if len(chosen) != 1:
        return compose_plain(words)[group]
    _check_choice(f"{group}={chosen[0]}")
    return _compose(f"{group}/{chosen[0]}", [word for word in words if not word.startswith(f"{group}=")])[group]


def _compose(name: str, words: Sequence[str]) -> dict[str, Any]:
    for word in words:
        _check_choice(word)
    base = next(folder for folder in conf_dirs() if (folder / f"{name}.yaml").is_file())
    others = ",".join(f"file://{folder}" for folder in conf_dirs() if folder != base)
    search = [f"hydra.searchpath=[{others}]"] if others else []
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(base)):
            config = compose(config_name=name, overrides=[*search, *words])
        kept = OmegaConf.create(_with_variables(OmegaConf.to_container(config)))
        return OmegaConf.to_container(kept, resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError(_sentence(error, words)) from error
    except YAMLError as error:
        raise SpecError(f"{base / name}.yaml or a config that it names is not yaml: {_one_line(error)}") from error


def _with_variables(node: Any) -> Any:
    """The tree with `${NAME}` in capitals kept as it is: a variable of the environment, expanded where it is used."""
    if isinstance(node, dict):
        return {key: _with_variables(item) for key, item in node.items()}
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    return re.sub(r"(?<!\\)(?=\$\{[A-Z_][A-Z0-9_]*\})", r"\\", node) if isinstance(node, str) else node


def _check_choice(word: str) -> None:
    key, _, value = word.lstrip("+").partition("=")
    if key in GROUPS and value not in choices(key):
        raise SpecError(f"{key}: unknown choice '{value}'.{nearest(value, choices(key))}")


def _sentence(error: Exception, words: Sequence[str]) -> str:
    """What is wrong with which word, and what would be right."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if known := _siblings(key):
            return f"{key}: unknown key.{nearest(key.rpartition('.')[2], known)}"
    return f"{_first_line(error)} (in {' '.join(words)})"


def _siblings(key: str) -> list[str]:
    """Names valid where `key` stands, when `key` itself is not; empty when it is."""
    tree: Any = compose_plain([])
    for part in key.split("."):
        if not isinstance(tree, dict):
            return []
        if part not in tree:
            return sorted(tree)
        tree = tree[part]
    return []


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "."
