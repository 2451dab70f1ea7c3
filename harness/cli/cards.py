"""`peftlab list …`: every config of a kind, in a few lines each. Files are read; nothing is composed or downloaded."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.cli.card_facts import FACTS
from harness.cli.tables import folding_table
from harness.config.cards import card
from harness.config.groups import choices
from harness.ledger.errors import HarnessError

NEXT = {
    "methods": "settings of one: peftlab show method=NAME",
    "models": "settings of one: peftlab show model=NAME; without a download: model.size=tiny",
    "datasets": "sizes and examples of one: peftlab show dataset=NAME; what is not at hand: peftlab fetch dataset=NAME",
    "sweeps": "what one would run, and its cost: peftlab plan sweep=NAME",
    "recipes": "settings of one: peftlab show recipe=NAME",
}


def main(given: Namespace) -> int:
    """`peftlab list [KIND] [--json]`; without a kind, how many there are of each."""
    if given.kind is None:
        return _kinds(given.json)
    rows = [described(given.kind, name) for name in choices(given.kind.removesuffix("s")) if name != "none"]
    if given.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_rows(rows)
        print(f"\n{NEXT[given.kind]}")
    return 0


def described(kind: str, name: str) -> dict[str, Any]:
    """One config as plain data: its name, its label, and facts by their names. A broken one has `wrong`."""
    try:
        raw = card(kind.removesuffix("s"), name)
        about = _mapping(raw.get("about"))
        facts = {"label": about.get("label", name), **FACTS[kind](raw), **_of(about, "licence", "formula", "source")}
    except HarnessError as error:
        facts = {"wrong": str(error)}
    return {"name": name, **{key: value for key, value in facts.items() if value is not None}}


def print_rows(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """A row for each: the facts in one line, then formula and source in lines of their own."""
    table = folding_table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(Text(row["name"], style="bold"), Text("\n".join(_lines(row))))
    (console or Console(highlight=False)).print(table)


def _lines(row: Mapping[str, Any]) -> list[str]:
    if "wrong" in row:
        return [row["wrong"]]
    own = {"name", "formula", "source"}
    first = ", ".join(str(value) for key, value in row.items() if key not in own)
    return [first, *(str(row[key]) for key in ("formula", "source") if key in row)]


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _of(about: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: about[key] for key in keys if key in about}


def _kinds(as_json: bool) -> int:
    counts = {kind: len([name for name in choices(kind.removesuffix("s")) if name != "none"]) for kind in NEXT}
    if as_json:
        print(json.dumps(counts))
        return 0
    for kind, count in counts.items():
        print(f"{count:>4} {kind:<9} peftlab list {kind}")
    own = os.environ.get("PEFTLAB_CONF")
    print(f"your own: {Path(own).resolve()}" if own else "one of your own: peftlab new --help")
    return 0
