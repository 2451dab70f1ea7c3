"""`peftlab check-method NAME|FILE`: a method of one's own, by its contract, its cost and its score beside LoRA's.

The contract comes first and is quick. Then the sweep `check_NAME` is written among one's own configs, with its margin
and the rates that are tried for both methods alike, before any run; the same command again goes on with it.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from json import JSONDecoder
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.cli.arguments import call
from harness.cli.method_card import method_of_path
from harness.cli.probe import measure, print_probe
from harness.cli.tables import folding_table
from harness.config.groups import choices, look_again, own_conf
from harness.config.overrides import assign, parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import SpecError, nearest
from harness.ledger.life import shown
from harness.ledger.method_check import STATES, VERSION, MethodCheck, Promise, write_check
from harness.ledger.names import check_plain
from harness.ledger.paths import write_whole
from harness.planning.plan import request_of
from harness.probe.result import probe_to_json
from methods.spec import MethodSpec

CONTROL = "lora"
KEPT = "methods"  # in the store: the code of methods from files
MARKS = {"works": "✓", "refused": "–", "noted": "•", "broken": "✗"}
CAPTION = ", ".join(f"{mark} {STATES[state]}" for state, mark in MARKS.items())
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
    spec = Resolver().part("method", [assign("method", name)]).spec
    rows = _contract(spec)
    is_broken = any(row.state == "broken" for row in rows)
    found = {"method": name, "code": spec.code, "contract": [vars(row) for row in rows]}
    if not given.json:
        _print(name, rows)
    if is_broken or given.contract:
        if given.json:
            print(json.dumps(found))
        return int(is_broken)
    step = measure(parse_words([f"method={CONTROL},{name}", *PROBE]))
    if not given.json:
        print_probe(step)
    plain = probe_to_json(step)
    sweep = _sweep(name)
    write_check(settings.runs, sweep, MethodCheck(VERSION, name, spec.code, rows, plain))
    words = [f"sweep={sweep}", *(override.input_line for override in given.overrides)]
    if not given.json:
        return call("sweep", words)
    code, report = _answered(words)
    print(json.dumps(found | {"probe": plain, "report": report}))
    return code


def _answered(words: Sequence[str]) -> tuple[int, Any]:
    """The sweep, and its answer as one value; None where the runs are only submitted."""
    said = StringIO()
    with redirect_stdout(said):
        code = call("sweep", [*words, "--json"])
    text = said.getvalue()
    return code, JSONDecoder().raw_decode(text)[0] if text else None  # failed runs are named after it


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


def _contract(spec: MethodSpec) -> tuple[Promise, ...]:
    rows = []
    with shown(f"{spec.name}: trying its contract") as say:
        from harness.planning.method_contract import contract  # torch, once the method is known to be one

        for promise, found in contract(spec):
            say(promise)
            rows.append(Promise(promise, found.state, found.why))
    return tuple(rows)


def _print(name: str, rows: Sequence[Promise]) -> None:
    table = folding_table(f"contract of {name}", "", "", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(row.promise, MARKS[row.state], Text(row.why))
    Console(highlight=False, soft_wrap=True).print(table, CAPTION, sep="\n")


def _sweep(name: str) -> str:
    """The card of the sweep, written once: what was edited in it stays."""
    path = own_conf() / "sweep" / f"check_{name}.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, SWEEP.format(name=name, control=CONTROL))
        look_again()
        print(f"written: {path} (its margin and rates, before any run)", file=sys.stderr)
    return path.stem
