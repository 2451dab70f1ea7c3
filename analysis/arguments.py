"""The command line of this room's verbs: `sweep=NAME` as everywhere, or the bare NAME, then flags.

An unknown word is one sentence and exit code 2.
"""

import argparse
from pathlib import Path
from typing import NoReturn

from harness.ledger.errors import PlanError, nearest

AXES = ("task", "model", "dataset", "method")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise PlanError(f"{self.prog}: {message}. Usage: {' '.join(self.format_usage().split()[1:])}")


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


def parser(verb: str, what: str, *, sweep: bool) -> argparse.ArgumentParser:
    """A parser with the flags that every verb of this room shares; `sweep` adds the sweep's name and where runs lie."""
    made = _Parser(prog=f"peftlab {verb}", description=what)
    if sweep:
        made.add_argument("sweep", type=sweep_name, metavar="sweep=NAME", help="a sweep that was planned or run")
        made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
        made.add_argument("--out", type=Path, default=Path("report"), help="folder of the reports (default: report)")
        made.add_argument("--partial", action="store_true", help="show holes instead of refusing an incomplete sweep")
        made.add_argument(
            "--allow-mixed",
            action="store_true",
            help="environments as blocks of their own, and settings that differ as a note, instead of a refusal",
        )
    made.add_argument("--json", action="store_true", help="one JSON document instead of tables")
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
