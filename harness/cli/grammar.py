"""What a verb of the command line is, and the kinds of its arguments. Nothing here is heavy: `--help` loads it."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.ledger.errors import nearest


@dataclass(frozen=True)
class Argument:
    """One `add_argument` of argparse, kept until its verb is called."""

    names: tuple[str, ...]
    options: dict[str, Any]

    @property
    def is_positional(self) -> bool:
        return not self.names[0].startswith("-")


@dataclass(frozen=True)
class Verb:
    """One verb. Where it has positional arguments and overrides, a word with `=` or a sign is an override."""

    target: str  # "module:function", imported when the verb is called
    about: str
    arguments: tuple[Argument, ...] = ()
    overrides: str = ""  # how Hydra's overrides stand in the usage; "": it takes none


def arg(*names: str, **options: Any) -> Argument:
    """An argument, as `add_argument` of argparse takes it."""
    return Argument(names, options)


def load(target: str) -> Callable[..., int]:
    """The function that "module:function" names. Found by name, so that no room imports another for it."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def above_zero(word: str) -> float:
    """A finite number above zero."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{word!r} is not a number above 0")
    return value


def sweep_name(word: str) -> str:
    """The NAME of `sweep=NAME` or of the bare `NAME`."""
    _, name = keyed("sweep", bare=True)(word)
    if "/" in name or name.startswith("."):
        raise ArgumentTypeError(f"{word!r} is not sweep=NAME")
    return name


def run_id(word: str) -> str:
    """The ID of `run=ID` or of the bare `ID`."""
    return keyed("run", bare=True)(word)[1]


def keyed(*keys: str, bare: bool = False) -> Callable[[str], tuple[str, str]]:
    """Reads `key=value` as a pair; with `bare`, a word without a key is of the first one."""

    def pair(word: str) -> tuple[str, str]:
        key, equals, value = word.partition("=")
        if bare and not equals:
            key, value = keys[0], word
        if key not in keys or not value:
            forms = ", ".join(f"{key}=…" for key in keys)
            raise ArgumentTypeError(f"'{word}' is none of {forms}.{nearest(key, keys).rstrip('.')}")
        return key, value

    return pair


WORDS = "[WORDS]"  # any of Hydra's overrides
STORE = "[runs=DIR]"
JSON = arg("--json", action="store_true", help="one JSON document, for machines")
RUNS = arg("--runs", metavar="DIR", type=Path, default=Path("runs"), help="where the runs are (default: runs)")
SWEEP_HELP = "a sweep that was planned or run; the bare NAME will do"
SWEEP = arg("sweep", metavar="sweep=NAME", type=sweep_name, help=SWEEP_HELP)
SWEEPS = arg(
    "sweep", metavar="sweep=NAME", type=sweep_name, nargs="+", help=f"{SWEEP_HELP}; several are one comparison"
)
ANY_SWEEP = arg("sweep", metavar="sweep=NAME", type=sweep_name, nargs="?", help=SWEEP_HELP)
RUN_HELP = "a run's id, which is the name of its folder, or its beginning"
RUN = arg("run", help=RUN_HELP)
NEW_FOLDER = arg("folder", type=Path, help="a new folder")
RUN_OR_SWEEP = arg(
    "target",
    metavar="RUN|sweep=NAME",
    nargs="?",
    type=keyed("run", "sweep", bare=True),
    help=f"{RUN_HELP}; or a sweep",
)
FAILED = arg(
    "--failed",
    metavar="KIND",
    help="only oom, diverged, data, exception, interrupt, timeout, source or node",
)
FROM_WANDB = arg(
    "--from",
    dest="source",
    nargs=2,
    metavar=("wandb", "PROJECT"),
    help="records from W&B instead of the runs folder",
)
OUT = arg(
    "--out",
    metavar="DIR",
    type=Path,
    default=Path("report"),
    help="where the page, tables and figures go: DIR/SWEEP (default: report)",
)
