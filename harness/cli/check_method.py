"""`peftlab check-method NAME|FILE`: a method of one's own, by its contract, its cost and its score beside LoRA's.

The contract comes first and is quick. Then the sweep `check_NAME` is written among one's own configs, with its margin
and the rates that are tried for both methods alike, before any run; the same command again goes on with it.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.cli.arguments import call
from harness.cli.method_card import method_of_path
from harness.cli.tables import folding_table
from harness.config.groups import choices, look_again, own_conf
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import SpecError, nearest
from harness.ledger.names import check_plain
from harness.ledger.paths import write_whole
from harness.planning.plan import request_of

CONTROL = "lora"
KEPT = "methods"  # in the store: the code of methods from files
COLUMNS = ("promise", "state", "why")
MARKS = {"works": "✓", "refused": "–", "broken": "✗"}
PROBE = ("model=minilm", "layers=2", "batch=16", "length=64")
SWEEP = """\
# Written by `peftlab check-method {name}`: {name} against LoRA, on the cells of sweep=quickstart. The same rates are
# tried for both; validation chooses one for each, and the margin was written before the first run.
name: check_{name}
title: {name} against LoRA
seeds: [0, 1, 2]
grids:
  - method: [{control}, {name}]
    zip:
      - {{model: vit_micro, dataset: digits, recipe: quick_image}}
      - {{model: minilm, dataset: stdlib_docs, recipe: quick_text}}
      - {{model: minilm, dataset: kinship, recipe: quick_text}}
    recipe.lr: [1.0e-3, 3.0e-3, 1.0e-2, 3.0e-2]
exclude: []
set:
  - where: {{dataset: kinship}}
    set: {{"dataset.source.options.hops": "[2]"}}
control: {control}
margin: 1.0
"""


def main(given: Namespace) -> int:
    """Exit code 1 where the contract is broken: nothing is measured then. Raises SpecError for an unknown method."""
    settings = settings_from(request_of(given.overrides).config)  # wrong words are said before any work
    name = _name(given.method, settings.runs / KEPT)
    rows = _contract(name)
    is_broken = any(state == "broken" for _, state, _ in rows)
    if given.json:
        print(json.dumps({"method": name, "contract": [dict(zip(COLUMNS, row, strict=True)) for row in rows]}))
    else:
        _print(name, rows)
    if is_broken or given.json or given.contract:
        return int(is_broken)
    call("probe", [f"method={CONTROL},{name}", *PROBE])
    return call("sweep", [f"sweep={_sweep(name)}", *(override.input_line for override in given.overrides)])


def _name(said: str, kept: Path) -> str:
    """The method's name: what was said, where a card is of that name, or the name of a file."""
    if said.endswith((".py", ".yaml")):
        return method_of_path(Path(said).expanduser(), kept)
    name = check_plain(said, "NAME")
    if name not in choices("method"):
        raise SpecError(
            f"there is no method '{name}'.{nearest(name, choices('method'))} `peftlab new method NAME` writes "
            "a card; a kind of one's own is a Python file, named with its ending .py."
        )
    if name == CONTROL:
        raise SpecError(f"{name} is what others are held against; name another method.")
    return name


def _contract(name: str) -> list[tuple[str, str, str]]:
    """(promise, state, sentence) each."""
    spec = Resolver().part("method", [assign("method", name)]).spec
    from harness.planning.method_contract import contract  # torch, once the method is known to be one

    rows = []
    for promise, found in contract(spec):
        if sys.stderr.isatty():
            print(f"\r\033[K{promise}", end="", file=sys.stderr)
        rows.append((promise, found.state, found.why))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return rows


def _print(name: str, rows: Sequence[tuple[str, str, str]]) -> None:
    table = folding_table(f"contract of {name}", "", "", box=None, padding=(0, 2, 0, 0))
    for promise, state, why in rows:
        table.add_row(promise, MARKS[state], Text(why))
    Console(highlight=False).print(table)


def _sweep(name: str) -> str:
    """The card of the sweep, written once: what was edited in it stays."""
    path = own_conf() / "sweep" / f"check_{name}.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, SWEEP.format(name=name, control=CONTROL))
        look_again()
        print(f"written: {path} (its margin and rates, before any run)")
    return path.stem
