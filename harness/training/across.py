"""What the processes of a run measured, as one: the clocks of the slowest, the most memory, the work of all."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.ledger.quantity import Measured, Quantity, quantity_to_json
from harness.training.context import RunContext

Quantities = Mapping[str, Quantity]


@dataclass(frozen=True)
class Measures:
    """Of one process, or of all of a run; names as in `Record`."""

    host: str
    seconds: Quantities
    speed: Quantities
    memory: Quantities
    contention: Quantities
    ledger: Quantities
    flops: Measured
    not_comparable: str | None  # why its times may not be compared


def gathered(context: RunContext, ledger: Quantities, flops: Measured) -> list[Measures]:
    """Everyone's, in the order of ranks; every process gets all."""
    own = Measures(
        platform.node(),
        context.clocks.quantities(),
        context.timer.quantities(),
        context.memory.quantities(),
        context.contention.quantities(),
        ledger,
        flops,
        context.contention.why_not_comparable(),
    )
    return context.world.gather(own)


def combined(each: Sequence[Measures]) -> Measures:
    """Of the whole run. The slowest is the one that trained longest: its clocks still add up to its wall time."""
    slowest = max(each, key=lambda one: _value(one.seconds["train"]))
    return Measures(
        slowest.host,
        slowest.seconds,
        slowest.speed,
        _most([one.memory for one in each]),
        slowest.contention,
        _most([one.ledger for one in each]),
        Measured(sum(one.flops.value for one in each), each[0].flops.unit),
        next((one.not_comparable for one in each if one.not_comparable), None),
    )


def by_rank(each: Sequence[Measures]) -> tuple[Mapping[str, Any], ...]:
    """`Record.ranks`: one entry for each process; empty for one alone."""
    if len(each) == 1:
        return ()
    parts = ("seconds", "memory", "ledger")
    return tuple(
        {"host": one.host}
        | {part: {name: quantity_to_json(q) for name, q in getattr(one, part).items()} for part in parts}
        for one in each
    )


def _most(each: Sequence[Quantities]) -> Quantities:
    """By name, the largest; what was measured nowhere keeps its reason."""
    return {name: max((one[name] for one in each), key=_value) for name in each[0]}


def _value(quantity: Quantity) -> float:
    return quantity.value if isinstance(quantity, Measured) else -1.0
