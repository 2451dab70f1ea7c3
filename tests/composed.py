"""Hydra in two steps, of which the first is kept: choices make a config, then values are put into a copy of it.

Both steps are Hydra's own; the first is what takes the time of most tests that plan. tests/test_conftest.py holds
the two steps against Hydra's `compose`. What `harness.config.compose` makes of the same words, files and environment
is kept too.
"""

import copy
import functools
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from harness.config import compose
from harness.config.overrides import Assignment

SETTLED = 2.0  # seconds after which a change of a file changes its time as well
in_one_step = compose.compose  # Hydra's
in_full = compose._compose
_answers: dict[tuple[Any, ...], bytes] = {}


def keep() -> None:
    """From now on, in this process."""
    compose.compose = in_two_steps  # type: ignore[assignment]
    compose._compose = once


def once(name: str, words: Sequence[Assignment], kept: compose.Kept | None = None) -> dict[str, Any]:
    """As `harness.config.compose._compose`; each caller has a copy of its own. What is refused is asked anew.

    Folders of a test's own are put in afterwards, so that all tests ask for the same.
    """
    own = {word.key: word.shown for word in words if name == compose.ROOT and _is_folder(word)}
    asked = tuple(replace(word, text="'/'", shown="/") if word.key in own else word for word in words)
    key = (name, asked, _files_of_ones_own(), _environment())
    if key not in _answers:
        _answers[key] = pickle.dumps(in_full(name, asked if own else words, kept))
    return pickle.loads(_answers[key]) | own


def _is_folder(word: Assignment) -> bool:
    """`runs=/tmp/…`, and no sign that Hydra or OmegaConf reads."""
    plain = word.text == f"'{word.shown}'" and word.shown.startswith("/") and not set(word.shown) & set("$\\'")
    return word.key in ("runs", "cache", "report") and word.sign == "" and plain


def in_two_steps(*, config_name: str, overrides: Sequence[str]) -> Any:
    """As Hydra's `compose` with these words."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [override for override in parsed if _is_value(override)]
    rest = tuple(str(override.input_line) for override in parsed if not _is_value(override))
    config = copy.deepcopy(_chosen(config_name, rest, _files_of_ones_own()))
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return config


def _is_value(override: Override) -> bool:
    """Not a choice of a group, and not one of Hydra's own settings."""
    key = override.key_or_group
    is_choice = key in compose.GROUPS or "/" in key or override.package is not None
    return not is_choice and not key.startswith("hydra") and not override.is_sweep_override()


@functools.cache
def _chosen(config_name: str, words: tuple[str, ...], files: tuple[tuple[str, bytes], ...]) -> Any:
    return in_one_step(config_name=config_name, overrides=list(words))


def _environment() -> frozenset[tuple[str, str]]:
    """What `${oc.env:…}` may name; pytest's own variable is another in every test."""
    return frozenset((name, value) for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST")


def _files_of_ones_own() -> tuple[tuple[str, bytes], ...]:
    """What lies in PEFTLAB_CONF, which tests write anew; the project's own files stay."""
    return tuple(file for folder in compose.conf_dirs()[:-1] for file in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            if name.endswith(".yaml"):
                path = os.path.join(place, name)
                found = os.stat(path)
                fresh = time.time() - found.st_ctime < SETTLED
                read = _read.__wrapped__ if fresh else _read
                yield path, read(path, found.st_ino, found.st_size, found.st_ctime_ns)


@functools.cache
def _read(path: str, *stamp: int) -> bytes:
    """A file that has lain still for longer than a clock's tick: another content would have another stamp."""
    return Path(path).read_bytes()
