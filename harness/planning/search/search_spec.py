"""What a search is, as data. It is no part of a run: a trial's id is that of the same ranks typed by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.ledger.errors import SpecError
from harness.ledger.parse import parse

DEFAULTS: Mapping[str, Any] = {
    "strategy": "tpe", "per": "kind", "ranks": [1, 2, 4, 8, 16, 32], "parameters": None, "trials": 20, "rungs": [],
    "keep": 3, "seed": 0, "at_once": 1,
}  # fmt: skip


@dataclass(frozen=True)
class SearchSpec:
    """ranks: the allowed ones. parameters: budget of all adapters. trials: runs in all.

    rungs: optimizer steps; of the ranks that were tried for so many, the best 1 in `keep` are tried for the next
    number (asynchronous successive halving, arXiv:1810.05934). Empty: every trial is as long as the recipe says.
    at_once: trials that are open at a time; those that know of fewer scores choose a little worse.
    """

    strategy: Literal["tpe", "evolution", "reinforce"]
    per: Literal["kind", "layer"]
    ranks: tuple[int, ...] = field(metadata={"items": (2, None), "min": 1})
    parameters: int | None = field(metadata={"min": 1})
    trials: int = field(metadata={"min": 1})
    rungs: tuple[int, ...] = field(metadata={"min": 1})
    keep: int = field(metadata={"min": 2})
    seed: int = field(metadata={"min": 0})
    at_once: int = field(metadata={"min": 1})


def read_search(typed: Mapping[str, Any]) -> SearchSpec:
    """The search that `search.KEY=VALUE` words mean. Raises SpecError that names the key which is wrong."""
    spec = parse(SearchSpec, {**DEFAULTS, **typed}, "search")
    for name in ("ranks", "rungs"):
        values = getattr(spec, name)
        if list(values) != sorted(set(values)):
            raise SpecError(f"search.{name}: {list(values)} must rise, each once.")
    return spec
