"""The command line of this room's verbs: `sweep=NAME` as everywhere, or the bare NAME, then flags.

An unknown word is one sentence and exit code 2.
"""

import argparse
from pathlib import Path

from harness.ledger.arguments import Parser
from harness.ledger.errors import PlanError, nearest

AXES = ("task", "model", "dataset", "method")


def sweep_name(word: str) -> str:
    """The NAME of `sweep=NAME` or of the bare `NAME`."""
    key, _, name = word.partition("=") if "=" in word else ("sweep", "", word)
    if key != "sweep" or not name or "/" in name or name.startswith("."):
        raise argparse.ArgumentTypeError(f"{word!r} is not sweep=NAME")
    return name


def above_zero(word: str) -> float:
    """A finite number above zero."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0")
    return value


def parser(verb: str, *, runs: bool = False, sweep: bool = False) -> Parser:
    """A parser with, where asked for, where the runs lie and the name of a sweep."""
    made = Parser(verb)
    if sweep:
        made.add_argument("sweep", type=sweep_name, metavar="sweep=NAME", help="a sweep that was planned or run")
    if runs:
        made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    return made


def wanted(words: list[str]) -> dict[str, str]:
    """`task=text model=minilm` as a mapping; raises PlanError for any other word."""
    found = {}
    for word in words:
        axis, _, value = word.partition("=")
        if axis not in AXES or not value:
            raise PlanError(f"'{word}': words here are {', '.join(f'{a}=…' for a in AXES)}.{nearest(axis, AXES)}")
        found[axis] = value
    return found
