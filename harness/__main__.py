"""The command line: a verb, then Hydra overrides. The one place that names every room; each is loaded with its verb.

`python -m harness method=lora` is `peftlab run method=lora`; `python -m harness -m …` is `peftlab sweep …`.
"""

import atexit
import gc
import io
import os
import shutil
import sys
import textwrap

from harness.cli.commands import VERBS

USAGE = """\
peftlab: which fine-tuning method should I use, and what does it cost?

  peftlab run method=lora model=minilm dataset=trec50 seed=0
  peftlab sweep sweep=quickstart
  peftlab sweep method=lora,cla 'seed=range(3)'

Overrides are Hydra's: key=value, comma lists, range(...), glob(*).
Verbs that answer take --json. More on one of them: peftlab VERB --help

"""
HELP = {"-h", "--help"}
VARIABLES = ("PEFTLAB_CACHE", "PEFTLAB_CONF", "PEFTLAB_MIRROR", "PEFTLAB_SWEEP")


def main(argv: list[str] | None = None) -> int:
    """Run a verb. Exit codes: 0 done, 1 a run failed, 2 the request was wrong (one sentence on stderr)."""
    if "_ARGCOMPLETE" in os.environ:
        from harness.cli.completion import answer_shell

        answer_shell()
    atexit.register(gc.freeze)  # all memory is given back at the end: nobody need look for what is garbage in it
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal or pipe that is not UTF-8 gets a ? for what it cannot show
            stream.reconfigure(errors="replace")
    if not words or words[0] in (*HELP, "help"):
        width = shutil.get_terminal_size().columns
        verbs = [f"  {name:<15}{verb.about}" for name, verb in VERBS.items()]
        print(USAGE + "\n".join(textwrap.fill(verb, width, subsequent_indent=" " * 17) for verb in verbs))
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"peftlab {version('peftlab')}")
        return 0
    from harness.ledger.errors import HarnessError

    try:
        _check_environment()
        verb, rest = _verb_of(words)
        if HELP & set(rest):
            return _help(verb)
        from harness.cli.arguments import call

        return call(verb, rest)
    except HarnessError as error:
        print(f"peftlab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `peftlab status | head`: nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"peftlab: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("peftlab: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _check_environment() -> None:
    """Raises SpecError for a variable of ours that is misspelt, and for a folder of configs that is not there."""
    from harness.ledger.errors import SpecError, nearest

    for name in os.environ:
        if name.startswith("PEFTLAB_") and name not in VARIABLES:
            raise SpecError(f"{name}: unknown variable of the environment.{nearest(name, VARIABLES)}")
    conf = os.environ.get("PEFTLAB_CONF")
    if conf and not os.path.isdir(conf):
        raise SpecError(f"PEFTLAB_CONF: {conf} is no folder; it holds method/, model/, dataset/ … of your own.")


def _help(verb: str) -> int:
    from harness.cli.arguments import Parser

    print(Parser(verb).format_help(), end="")
    return 0


def _verb_of(words: list[str]) -> tuple[str, list[str]]:
    if words[0] in ("-m", "--multirun"):
        return "sweep", words[1:]
    if words[0] in VERBS:
        return words[0], words[1:]
    if "=" in words[0]:
        multirun = {"-m", "--multirun"} & set(words)
        return ("sweep" if multirun else "run"), [word for word in words if word not in multirun]
    from harness.ledger.errors import SpecError, nearest

    raise SpecError(f"unknown verb '{words[0]}'.{nearest(words[0], VERBS)}")


if __name__ == "__main__":
    sys.exit(main())
