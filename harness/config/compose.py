"""Hydra composes, once per distinct choice; what leaves this file is plain data.

Nothing here knows what a key means: `harness.planning.plan` parses the result into frozen specs.
"""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import YAMLError

from harness.config.groups import GROUPS as GROUPS
from harness.config.groups import choices as choices
from harness.config.groups import conf_dirs as conf_dirs
from harness.config.keys import as_hydra_takes, where_it_belongs
from harness.config.overrides import Assignment
from harness.config.yaml_file import check_name, check_yaml, read_yaml
from harness.ledger.errors import SpecError, nearest

ROOT, HANDED = "config", "peftlab_config"
REFUSED = (OmegaConfBaseException, ValueError, TypeError)  # the last two: OmegaConf, for a key where a list has places
Kept = dict[tuple[str, tuple[Assignment, ...]], DictConfig]  # what Hydra made of choices alone


def compose_plain(words: Sequence[Assignment], kept: Kept | None = None) -> dict[str, Any]:
    """The whole config for these assignments, resolved, as plain data. Raises SpecError naming the wrong key.

    A caller that composes many gives one `kept` to all: other values of the same choices are then put into a copy.
    """
    return _compose(ROOT, words, kept)


def compose_part(group: str, words: Sequence[Assignment], kept: Kept | None = None) -> dict[str, Any]:
    """One group of the config for the assignments that touch it; where one of it is chosen, that alone is composed."""
    chosen = [word for word in words if word.key == group]
    if len(chosen) != 1:
        return compose_plain(words, kept)[group]
    _check_choice(chosen[0])
    rest = [word for word in words if word.key != group]
    return _mapping(_compose(f"{group}/{chosen[0].shown}", rest, kept), group, chosen[0])


def _mapping(config: dict[str, Any], group: str, chosen: Assignment) -> dict[str, Any]:
    if not isinstance(part := config.get(group), dict):
        raise SpecError(f"{chosen.word}: its yaml holds no {group}; a `# @package` line must not be in it.")
    return part


def _compose(name: str, words: Sequence[Assignment], kept: Kept | None = None) -> dict[str, Any]:
    """Hydra's config, as plain data. A key that is not there is named with its neighbours, and where it belongs."""
    for word in words:
        _check_choice(word)
    file = _file(name)
    _check_files(name, words)
    try:
        config = _by_choice(name, file, words, {} if kept is None else kept)
        plain = OmegaConf.create(_with_variables(OmegaConf.to_container(config)))
        return OmegaConf.to_container(plain, resolve=True)  # type: ignore[return-value]
    except InterpolationResolutionError as error:
        key, text = error.full_key, _first_line(error)
        raise SpecError(f"{key}: {text} For a variable of the environment write ${{oc.env:NAME}}.") from error
    except (HydraException, *REFUSED) as error:
        raise SpecError(_sentence(error, name, words)) from error
    except YAMLError as error:
        raise SpecError(f"{file} or a config that it names is not yaml: {' '.join(str(error).split())}") from error


def _by_hydra(name: str, file: Path, words: Sequence[Assignment]) -> DictConfig:
    base, root = _beginning(name, file)
    others = ",".join(_quoted(f"file://{folder}") for folder in conf_dirs() if folder != base)
    search = [f"hydra.searchpath=[{others}]"] if others else []
    with initialize_config_dir(version_base="1.3", config_dir=str(base)):
        return compose(config_name=root, overrides=[*search, *map(as_hydra_takes, words)])


def _by_choice(name: str, file: Path, words: Sequence[Assignment], kept: Kept) -> DictConfig:
    """As `_by_hydra`, in a tenth of its time: a choice is made once, and values are put into a copy, as Hydra does.

    Where a key is taken away, added or a folder of configs, and where a value is refused, Hydra is asked for all of it.
    """
    choice = tuple(word for word in words if word.key in GROUPS)
    values = [word for word in words if word.key not in GROUPS]
    if not all(word.sign in ("", "++") and not _is_folder(word.key) for word in values):
        return _by_hydra(name, file, words)
    if (name, choice) not in kept:
        kept[name, choice] = _by_itself(name, file, choice) or _by_hydra(name, file, choice)
    config = copy.deepcopy(kept[name, choice])
    try:
        for override in OverridesParser.create().parse_overrides([*map(as_hydra_takes, values)]):
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=override.is_force_add())
    except REFUSED:
        return _by_hydra(name, file, words)
    return config


def _by_itself(name: str, file: Path, choice: Sequence[Assignment]) -> DictConfig | None:
    """What Hydra makes of a file that starts from no other: what it holds, below its group. None of one that does."""
    if name == ROOT or choice:
        return None
    text = file.read_text(encoding="utf-8")
    if "@package" in text or "defaults" in (raw := read_yaml(text, str(file)) or {}):
        return None
    config = OmegaConf.create({name.partition("/")[0]: raw})
    OmegaConf.set_struct(config, True)
    return config


def _is_folder(key: str) -> bool:
    """Whether Hydra takes a key for a group of configs."""
    return "/" in key or any((folder / key).is_dir() for folder in conf_dirs())


def _beginning(name: str, file: Path) -> tuple[Path, str]:
    """The folder where Hydra looks before all others, and what it begins with there.

    It reads the root config before it knows a search path. So it is handed that one, and can look into a folder of
    one's own first: a config there hides the project's of its name.
    """
    if name != ROOT:
        return file.parents[name.count("/")], name
    ConfigStore.instance().store(name=HANDED, node=OmegaConf.load(file))
    return conf_dirs()[0], HANDED


def _with_variables(node: Any) -> Any:
    """The tree with `${NAME}` in capitals kept as it is: a variable of the environment, expanded where it is used."""
    if isinstance(node, dict):
        return {key: _with_variables(item) for key, item in node.items()}
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    return re.sub(r"(?<!\\)(?=\$\{[A-Z_][A-Z0-9_]*\})", r"\\", node) if isinstance(node, str) else node


def _file(name: str) -> Path:
    return next(path for folder in conf_dirs() if (path := folder / f"{name}.yaml").is_file())


def _check_files(name: str, words: Sequence[Assignment]) -> None:
    """The files of one's own that are about to be composed: the project's are held by its tests."""
    chosen = [name] if name != ROOT else [f"{w.key}/{w.shown}" for w in words if w.key in GROUPS] + [name]
    for each in chosen:
        if (file := _file(each)).parents[each.count("/")] != conf_dirs()[-1]:
            raw = check_yaml(file)
            if each != ROOT and not each.startswith("tracker/"):
                check_name(file, raw)


def _check_choice(word: Assignment) -> None:
    if word.key not in GROUPS or word.shown in (known := choices(word.key)):
        return
    if word.text.startswith("["):
        raise SpecError(f"{word.key}: {word.shown} is a list; write it without brackets: {word.key}={word.text[1:-1]}")
    if not word.text:
        raise SpecError(
            f"{word.word}: there is always exactly one {word.key}; write {word.key}=NAME.{nearest('', known)}"
        )
    raise SpecError(f"{word.key}: unknown choice '{word.shown}'.{nearest(word.shown, known)}")


def _sentence(error: Exception, name: str, words: Sequence[Assignment]) -> str:
    """What is wrong with which key, and what would be right."""
    chosen = [word for word in words if word.key in GROUPS]
    tree = _compose(name, chosen) if len(chosen) < len(words) else {}
    for word in words:
        if whole := _list_above(word.key, tree):
            return f"{word.key}: {whole} is a list; write all of it, as in {whole}=[a,b]."
        if word not in chosen and word.sign in ("", "~") and (known := _siblings(word.key, tree)):
            return f"{word.key}: unknown key.{where_it_belongs(word)}{nearest(word.key.rpartition('.')[2], known)}"
    return f"{_first_line(error)} (in {' '.join(word.word for word in words) or name})"


def _list_above(key: str, tree: Any) -> str:
    """The part of a dotted key that is a list there, so that nothing can stand below it; empty when none is."""
    parts = key.split(".")
    for number, part in enumerate(parts):
        if isinstance(tree, list):
            return ".".join(parts[:number])
        tree = tree.get(part) if isinstance(tree, dict) else None
    return ""


def _siblings(key: str, tree: Any) -> list[str]:
    """Names valid where `key` stands, when `key` itself is not; empty when it is."""
    for part in key.split("."):
        if not isinstance(tree, dict):
            return ["(a value, which has no keys of its own)"]
        if part not in tree:
            return sorted(map(str, tree)) or ["(none)"]
        tree = tree[part]
    return []


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "."
