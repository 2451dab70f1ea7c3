"""A verb's command line, read once: its own arguments by argparse, from the table of verbs; the rest by Hydra."""

import re
import textwrap
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.cli.commands import VERBS
from harness.cli.grammar import load
from harness.cli.help import TEXTS, WIDTH, fitted, overrides_help
from harness.ledger.errors import SpecError, nearest
from harness.ledger.life import shown


def call(name: str, argv: Sequence[str]) -> int:
    """Do a verb with these words; its exit code. Raises HarnessError with the one sentence to print."""
    given = parse(name, argv)
    with shown(f"peftlab {name}: loading", clock=False):  # the packages that read records take a second
        verb = load(VERBS[name].target)
    return verb(given)


def parse(name: str, argv: Sequence[str]) -> Namespace:
    """The arguments of a verb, each under its name, and Hydra's `Override` objects as `overrides`. Raises SpecError."""
    parser = Parser(name)
    words = [word for word in argv if parser.splits_words and _is_override(word)]
    given, rest = parser.parse_known_intermixed_args([word for word in argv if word not in words])
    if rest and not parser.takes_rest:
        parser.error(f"'{rest[0]}' is a word too many")
    if VERBS[name].overrides:
        from harness.config.overrides import parse_words  # Hydra is loaded for the verbs that take overrides

        given.overrides = parse_words([*words, *rest])
    return given


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or word.startswith(("+", "~")))


class Parser(ArgumentParser):
    """The parser of one verb. What is wrong is one sentence, as everywhere."""

    def __init__(self, name: str) -> None:
        verb = VERBS[name]
        super().__init__(
            prog=f"peftlab {name}",
            description=fitted("\n\n".join(filter(None, (verb.about, TEXTS.get(name))))),
            epilog=overrides_help() if "WORDS" in verb.overrides else None,
            formatter_class=lambda prog: RawDescriptionHelpFormatter(prog, max_help_position=30, width=WIDTH),
            add_help=False,
            allow_abbrev=False,
        )
        for argument in verb.arguments:
            self.add_argument(*argument.names, **argument.options)
        own = any(argument.is_positional for argument in verb.arguments)
        self.splits_words = bool(verb.overrides) and own
        self.takes_rest = bool(verb.overrides) and not own
        self.usage = " ".join([*self.format_usage().split()[1:], *verb.overrides.split()])

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """`runs=DIR`, as the verbs that take overrides spell it, is `--runs DIR` for the others."""
        self._check_flags(args or ())
        has_runs = "--runs" in self._option_string_actions
        words = [f"--{word}" if has_runs and word.startswith("runs=") else word for word in args or ()]
        return super().parse_known_args(words, namespace)

    def _check_flags(self, words: Sequence[str]) -> None:
        """A flag that is not known comes before an argument that is absent; `-1` is a number."""
        for word in words:
            flag = word.partition("=")[0]
            if re.match(r"--?[A-Za-z]", flag) and flag not in self._option_string_actions:
                self.error(f"unknown flag '{flag}'.{nearest(flag, self._option_string_actions)}".rstrip("."))

    def format_help(self) -> str:
        """With a usage that folds between its words."""
        usage, rest = super().format_help().split("\n", 1)
        folded = textwrap.fill(usage, WIDTH, subsequent_indent=" " * len("usage: "), break_on_hyphens=False)
        return f"{folded}\n{rest}"

    def error(self, message: str) -> NoReturn:
        raise SpecError(f"{self.prog}: {message}. Usage: {self.usage}")
