"""`peftlab explain RUN --cost` on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from harness.cli.run_cost import RunCost, StepTaken
from harness.cli.tables import folding_table, side_by_side
from harness.ledger.units import format_bytes, format_duration

NAMES = {"train": "training", "eval": "evaluation", "saved_for_backward": "saved for the backward pass"}


def print_cost(cost: RunCost, console: Console) -> None:
    """Two short tables of shares, the other methods beside it, and sentences."""
    for title, parts, shown in (
        ("time", cost.clocks, format_duration),
        ("memory of a step", cost.own.ledger, format_bytes),
    ):
        table = folding_table(title, "", "share", box=None, padding=(0, 2, 0, 0))
        for name, value in sorted(parts.items(), key=lambda part: -part[1]):
            table.add_row(NAMES.get(name, name), shown(value), f"{value / (sum(parts.values()) or 1):.0%}")
        console.print(table)
        console.print()
    if cost.others:
        headings = ("method", "runs", "ms a step", "GFLOP a step", "GFLOP/s", "memory of a step")
        console.print(side_by_side(console, headings, [_row(each) for each in (cost.own, *cost.others)], box=None))
        console.print()
    for sentence in sentences(cost):
        console.print(sentence, markup=False, soft_wrap=True)


def sentences(cost: RunCost) -> Iterator[str]:
    """What the numbers say, and no more."""
    own = cost.own
    if own.ms and own.gflop:
        yield f"A step computes {own.gflop:,.3g} GFLOP in {own.ms:,.3g} ms: {_rate(own):,.3g} GFLOP/s."
    if cost.why_not_comparable:
        yield f"Its times are not comparable with others' ({cost.why_not_comparable}): no method stands beside it."
    for other in cost.others:
        yield from _beside(own, other)
    if cost.others:
        yield "Medians; whether two of them differ by more than chance: peftlab report."


def _beside(own: StepTaken, other: StepTaken) -> Iterator[str]:
    if own.ms and other.ms and own.gflop and other.gflop:
        time, work, pace = own.ms / other.ms, own.gflop / other.gflop, _rate(other) / _rate(own)
        says = f"{work:.2f} × the FLOP, each in {pace:.2f} × the time."
        yield f"Its step takes {time:.2f} × that of {other.method}: {says}{_memory(own, other)}"


def _memory(own: StepTaken, other: StepTaken) -> str:
    """The ratio of all roles, and the role that makes most of the difference."""
    if not other.bytes or not own.bytes:
        return ""
    apart = {role: own.ledger.get(role, 0.0) - other.ledger.get(role, 0.0) for role in {*own.ledger, *other.ledger}}
    role = max(sorted(apart), key=lambda each: abs(apart[each]))
    most = f", most of it {NAMES.get(role, role)}" if apart[role] else ""
    return f" It holds {own.bytes / other.bytes:.2f} × the bytes ({_signed(own.bytes - other.bytes)}{most})."


def _signed(size: float) -> str:
    return f"{'+' if size >= 0 else '-'}{format_bytes(abs(size))}"


def _rate(cost: StepTaken) -> float:
    """GFLOP/s over the whole training."""
    return 1e3 * (cost.gflop or 0.0) / (cost.ms or 1.0)


def _row(cost: StepTaken) -> list[str]:
    numbers = (cost.ms, cost.gflop, _rate(cost) if cost.ms and cost.gflop else None)
    shown = ("–" if number is None else f"{number:,.3g}" for number in numbers)
    return [cost.method, str(cost.runs), *shown, format_bytes(cost.bytes)]


def cost_to_json(cost: RunCost) -> dict[str, Any]:
    """Plain data, with the sentences."""
    return vars(cost) | {
        "own": _plain(cost.own),
        "others": [_plain(other) for other in cost.others],
        "sentences": list(sentences(cost)),
    }


def _plain(cost: StepTaken) -> Mapping[str, Any]:
    return vars(cost) | {"bytes": cost.bytes}
