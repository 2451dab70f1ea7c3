"""Shell completion: verbs, flags, config groups and what there is in each, and the keys of a run. By argcomplete.

The shell asks this program at each TAB, so that configs of one's own are offered as soon as they are written.
"""

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from harness.cli.commands import VERBS
from harness.config.groups import GROUPS, choices
from harness.ledger.errors import SpecError

INSTALL = "pip install 'peftlab[completion]'"
LOAD = {
    "bash": 'eval "$(peftlab completion bash)"',
    "zsh": 'eval "$(peftlab completion zsh)"',
    "fish": "peftlab completion fish | source",
}
SETTINGS = ("seed=", "runs=", "report=", "cache=", "device=", "keep=", "wandb.mode=")


def main(given: Namespace) -> int:
    """`peftlab completion bash|zsh|fish`: the lines that a shell's start file takes. Raises SpecError."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise SpecError(f"completion needs the package argcomplete: {INSTALL}") from error
    print(f"# In the start file of your shell: {LOAD[given.shell]}")
    print(shellcode(["peftlab"], shell=given.shell))
    return 0


def answer_shell() -> None:
    """Say to the shell that asks (`_ARGCOMPLETE`) what may come next, and end the process."""
    import argcomplete

    argcomplete.autocomplete(all_verbs(), always_complete_options=False)


def all_verbs() -> ArgumentParser:
    """One parser of every verb; only for completion, `harness.cli.arguments` reads what is typed."""
    parser = ArgumentParser(prog="peftlab", add_help=False)
    verbs = parser.add_subparsers()
    for name, verb in VERBS.items():
        its: Any = verbs.add_parser(name, add_help=False)
        for argument in verb.arguments:
            action: Any = its.add_argument(*argument.names, **_without_type(argument.options))
            if action.dest in ("sweep", "target"):
                action.completer = _sweeps
        if verb.overrides and not any(argument.is_positional for argument in verb.arguments):
            words: Any = its.add_argument("words", nargs="*")
            words.completer = _words
    return parser


def _without_type(options: dict[str, Any]) -> dict[str, Any]:
    """Half a word is no value yet."""
    return {key: value for key, value in options.items() if key != "type"}


def _words(prefix: str, action: Action, **_: Any) -> list[str]:
    """Words of Hydra's that begin so: the names of a group once its `=` is there, else the groups and keys."""
    group, equals, value = prefix.partition("=")
    if equals and group in GROUPS:
        before, comma = value.rpartition(",")[:2]
        return [f"{group}={before}{comma}{name}" for name in choices(group)]
    return [word for word in _keys(prefix) if word.startswith(prefix)]


def _keys(prefix: str) -> Iterator[str]:
    yield from (f"{group}=" for group in GROUPS)
    yield from SETTINGS
    if "." in prefix:  # the dataclasses of a run are imported for them only
        from harness.config.keys import key_paths

        yield from (f"{key}=" for key in key_paths())
    else:
        yield from (f"{group}." for group in ("method", "model", "dataset", "recipe"))


def _sweeps(prefix: str, action: Action, **_: Any) -> list[str]:
    return [f"sweep={name}" for name in choices("sweep") if name != "none"]
