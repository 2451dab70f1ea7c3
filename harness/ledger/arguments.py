"""The argument parser of the verbs that read no config: a word it does not know is one sentence, as everywhere."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.ledger.errors import SpecError, nearest


class Parser(argparse.ArgumentParser):
    """`runs=DIR`, as the verbs that read a config spell it, is `--runs DIR` here. Help is `harness.cli.help`'s."""

    def __init__(self, verb: str, *, json: bool = True) -> None:
        super().__init__(prog=f"peftlab {verb}", add_help=False, allow_abbrev=False)
        if json:
            self.add_argument("--json", action="store_true", help="one JSON document, for machines")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        self._check_flags(args or ())
        return super().parse_known_args([f"--{w}" if w.startswith("runs=") else w for w in args or ()], namespace)

    def _check_flags(self, words: Sequence[str]) -> None:
        """A flag that is not known comes before an argument that is absent; `-1` is a number."""
        for word in words:
            flag = word.partition("=")[0]
            if re.match(r"--?[A-Za-z]", flag) and flag not in self._option_string_actions:
                self.error(f"unknown flag '{flag}'.{nearest(flag, self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        raise SpecError(f"{self.prog}: {message}. Usage: {' '.join(self.format_usage().split()[1:])}")
