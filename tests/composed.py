"""Hydra in two steps, of which the first is kept: choices make a config, then values are put into a copy of it.

Both steps are Hydra's own; the first is what takes the time of most tests that plan. tests/test_conftest.py holds
the two steps against Hydra's `compose`.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from harness.config import compose

in_one_step = compose.compose  # Hydra's


def keep() -> None:
    """From now on, in this process."""
    compose.compose = in_two_steps  # type: ignore[assignment]


def in_two_steps(*, config_name: str, overrides: Sequence[str]) -> Any:
    """As Hydra's `compose` with these words."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [override for override in parsed if _is_value(override)]
    rest = tuple(str(override.input_line) for override in parsed if not _is_value(override))
    config = copy.deepcopy(_chosen(config_name, rest, _files_of_ones_own()))
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return config


def _is_value(override: Override) -> bool:
    """Not a choice of a group, whose keys have no dot, and not one of Hydra's own settings."""
    key = override.key_or_group
    return "." in key and not key.startswith("hydra.") and override.package is None and not override.is_sweep_override()


@functools.cache
def _chosen(config_name: str, words: tuple[str, ...], files: tuple[tuple[str, bytes], ...]) -> Any:
    return in_one_step(config_name=config_name, overrides=list(words))


def _files_of_ones_own() -> tuple[tuple[str, bytes], ...]:
    """What lies in PEFTLAB_CONF, which tests write anew; the project's own files stay."""
    own = compose.conf_dirs()[:-1]
    files = (path for folder in own for path in sorted(folder.rglob("*.yaml")) if path.is_file())
    return tuple((str(path), path.read_bytes()) for path in files)
