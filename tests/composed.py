"""Hydra's answer for equal words on the project's own configs, kept for the length of a process.

Composing is what takes the time of most tests that plan. Those of a folder of one's own are composed each time.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any

from harness.config import compose
from harness.config.overrides import Assignment


def keep() -> None:
    """From now on, in this process. The files of conf/ do not change while tests run, and none reads a variable."""
    real = compose._compose
    kept = functools.cache(lambda name, words: real(name, words))

    def once(name: str, words: Sequence[Assignment]) -> dict[str, Any]:
        own = len(compose.conf_dirs()) > 1 or any("${" in word.word for word in words)
        return real(name, words) if own else copy.deepcopy(kept(name, tuple(words)))

    compose._compose = once
