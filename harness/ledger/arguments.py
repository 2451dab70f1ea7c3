"""The argument parser of the verbs that read no config: a word it does not know is one sentence, as everywhere."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.ledger.errors import SpecError


class Parser(argparse.ArgumentParser):
    """`runs=DIR`, as the verbs that read a config spell it, is `--runs DIR` here. Help is `harness.cli.help`'s."""

    def __init__(self, verb: str, *, json: bool = True) -> None:
        super().__init__(prog=f"peftlab {verb}", add_help=False, allow_abbrev=False)
        if json:
            self.add_argument("--json", action="store_true", help="one JSON document, for machines")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        return super().parse_known_args([f"--{w}" if w.startswith("runs=") else w for w in args or ()], namespace)

    def error(self, message: str) -> NoReturn:
        raise SpecError(f"{self.prog}: {message}. Usage: {' '.join(self.format_usage().split()[1:])}")
