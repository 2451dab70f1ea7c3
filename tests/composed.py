"""What `harness.config.compose` makes of the same words, files and environment is kept, as is Hydra's own part of it.

To compose is what takes the time of most tests that plan.
"""

import functools
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config import compose
from harness.config.overrides import Assignment

SETTLED = 2.0  # seconds after which a change of a file changes its time as well
in_full = compose._compose
_answers: dict[tuple[Any, ...], bytes] = {}
_kept: dict[tuple[Any, ...], compose.Kept] = {}


def keep() -> None:
    """From now on, in this process."""
    compose._compose = once


def once(name: str, words: Sequence[Assignment], kept: compose.Kept | None = None) -> dict[str, Any]:
    """As `harness.config.compose._compose`; each caller has a copy of its own. What is refused is asked anew.

    What a caller keeps is kept here for all. Folders of a test's own are put in afterwards, so that all tests ask for
    the same.
    """
    own = {word.key: word.shown for word in words if name == compose.ROOT and _is_folder(word)}
    asked = tuple(replace(word, text="'/'", shown="/") if word.key in own else word for word in words)
    files = _files_of_ones_own()
    key = (name, asked, files, _environment())
    if key not in _answers:
        of_choices = _kept.setdefault((files, *compose.conf_dirs()), {})
        _answers[key] = pickle.dumps(in_full(name, asked if own else words, of_choices))
    return pickle.loads(_answers[key]) | own


def _is_folder(word: Assignment) -> bool:
    """`runs=/tmp/…`, and no sign that Hydra or OmegaConf reads."""
    plain = word.text == f"'{word.shown}'" and word.shown.startswith("/") and not set(word.shown) & set("$\\'")
    return word.key in ("runs", "cache", "report") and word.sign == "" and plain


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
