"""`peftlab show method=… | model=… | recipe=…`: what a config says, each setting under the key that changes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.cli.tables import folding_table
from harness.config.compose import compose_part
from harness.config.overrides import Assignment, assign
from harness.config.resolve import Resolver
from harness.ledger.errors import SpecError

SHOWN = ("method", "model", "recipe")


def show_settings(axes: Mapping[str, Sequence[Assignment]], as_json: bool) -> int:
    """Every combination of the words of one kind. Raises SpecError unless they are of exactly one."""
    kinds = dict.fromkeys(key.split(".")[0] for key in axes)
    kind = next(iter(kinds), None)
    if len(kinds) != 1 or kind not in SHOWN or kind not in axes:
        raise SpecError("show takes one thing to show: dataset=NAME, method=NAME, model=NAME or recipe=NAME.")
    shown = [settings(kind, words) for words in product(*axes.values())]
    if as_json:
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        for number, view in enumerate(shown):
            _print(kind, view, first=number == 0)
    return 0


def settings(kind: str, words: Sequence[Assignment]) -> dict[str, Any]:
    """`about`, and `settings` by their dotted keys. A recipe's rates are still by group, as no method is chosen."""
    resolver = Resolver()
    plain = compose_part(kind, words) if kind == "recipe" else resolver.part(kind, words).plain
    return {
        "about": plain.get("about", {}),
        "settings": dict(flat({key: plain[key] for key in plain if key != "about"}, kind)),
    }


def flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """`{update: {rank: 8}}` as `method.update.rank`, 8. A list is one value, and so is an empty mapping."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _print(kind: str, view: Mapping[str, Any], *, first: bool) -> None:
    """The facts for people, then each setting as it would be typed."""
    table = folding_table("", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, value in view["about"].items():
        table.add_row(Text(key), Text(str(value)))
    console = Console(highlight=False)
    console.print(*([] if first else [""]), table)
    for key, value in view["settings"].items():
        console.print(assign(key, value).word, markup=False, soft_wrap=True)
