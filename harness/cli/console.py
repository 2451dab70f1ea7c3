"""What the terminal shows: one run's answer, and how a sweep ended. It measures and decides nothing."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from harness.cli.tables import folding_table
from harness.execution.launcher import DryRun
from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.ledger.units import format_bytes

console = Console(highlight=False)
UNITS = {"s": (1, "s"), "ms": (1, "ms"), "FLOP": (1e9, "GFLOP")}


def print_record(record: Record, store: Store) -> None:
    """One run: scores first, then what it cost, then where the rest is."""
    where = store.paths(record.id).record
    if record.failure is not None:
        failure = record.failure
        console.print(f"[red]failed[/] ({failure.kind}, in {failure.phase}, after step {failure.step})", end=": ")
        console.print(failure.message, markup=False)
        console.print(f"do it again: peftlab retry {record.id}   record: {where}", markup=False, soft_wrap=True)
        return
    table = folding_table("", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    for split, scores in record.scores.items():
        table.add_row(split, _row(scores))
    for title in ("seconds", "speed", "memory", "ledger", "parameters"):
        table.add_row(title, _row(getattr(record, title)))
    table.add_row("data", "  ".join(_split(name, facts) for name, facts in record.data.get("splits", {}).items()))
    table.add_row("selected", f"step {record.selected['step']} by validation {record.selected['metric']}")
    console.print(table)
    console.print(f"run {record.id}   record: {where}", markup=False, soft_wrap=True)


def _split(name: str, facts: Mapping[str, Any]) -> str:
    """`train 4,092 (51.4% truncated)`: rows, and the share of them that lost words of their context."""
    return f"{name} {facts['n']:,}" + (f" ({facts['truncated']:.1%} truncated)" if facts["truncated"] else "")


def print_sweep_end(plan: Plan, store: Store) -> None:
    """The failed runs, each with its kind, where it was and its sentence."""
    choices = {run.id: run.choices for run in plan.runs if store.status(run.id) == "failed"}
    for record in store.records(choices):
        if failure := record.failure:
            console.print(f"failed {record.id} {_words(choices[record.id])}", markup=False, soft_wrap=True)
            first_line = failure.message.splitlines()[0]
            where = f"{failure.kind} in {failure.phase} after step {failure.step}"
            console.print(f"    {where}: {first_line}", markup=False)


def print_left_out(plan: Plan) -> None:
    """On stderr, each sentence once, with how many cells it is of."""
    said = Console(stderr=True, highlight=False, soft_wrap=True)
    for why, count in Counter(skipped.why for skipped in plan.skipped).items():
        said.print(f"skipped: {count} cell{'s' * (count > 1)}: {why}", markup=False)


def print_dry_run(shown: DryRun) -> None:
    """The sentences, a table of jobs, and the script of the first."""
    for sentence in shown.said:
        console.print(sentence, markup=False, soft_wrap=True)
    if shown.jobs:
        table = folding_table("array", *shown.jobs[0], box=None, padding=(0, 2, 0, 0))
        for number, job in enumerate(shown.jobs, start=1):
            table.add_row(str(number), *map(str, job.values()))
        console.print(table)
    if shown.script:
        console.print("\nthe script of array 1, but for names that are drawn when it is submitted:\n")
        print(shown.script)
    console.print("Nothing was submitted.")


def show(quantity: Quantity) -> str:
    """A quantity with its unit, short: `0.953`, `12.3 s`, `410 MB`, or `not measured (why)`."""
    if isinstance(quantity, NotMeasured):
        return f"not measured ({quantity.why})"
    if quantity.unit in ("byte", "bytes"):
        return format_bytes(quantity.value)
    scale, unit = UNITS.get(quantity.unit, (1, ""))
    value = quantity.value / scale
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _row(quantities: Mapping[str, Quantity]) -> str:
    missing = {q.why for q in quantities.values() if isinstance(q, NotMeasured)}
    shown = [f"{name} {show(q)}" for name, q in quantities.items() if isinstance(q, Measured)]
    return "  ".join(shown + [f"({why})" for why in sorted(missing)])


def _words(choices: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in choices.items())
