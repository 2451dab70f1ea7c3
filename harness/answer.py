"""What the terminal shows: one run's answer, a plan, and how a sweep ended. It measures and decides nothing."""

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import Record
from harness.ledger.store import Store

console = Console(highlight=False)
UNITS = {"byte": (2**20, "MiB"), "s": (1, "s"), "ms": (1, "ms"), "FLOP": (1e9, "GFLOP")}


def print_record(record: Record, store: Store) -> None:
    """One run: scores first, then what it cost, then where the rest is."""
    where = store.paths(record.id).record
    if record.failure is not None:
        failure = record.failure
        console.print(f"[red]failed[/] ({failure.kind}, in {failure.phase}, after step {failure.step})", end=": ")
        console.print(failure.message, markup=False)
        console.print(f"do it again: peftlab retry {record.id}   record: {where}", markup=False, soft_wrap=True)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for split, scores in record.scores.items():
        table.add_row(split, _row(scores))
    for title in ("seconds", "speed", "memory", "ledger", "parameters"):
        table.add_row(title, _row(getattr(record, title)))
    table.add_row("selected", f"step {record.selected['step']} by validation {record.selected['metric']}")
    console.print(table)
    console.print(f"run {record.id}   record: {where}", markup=False, soft_wrap=True)


def print_plan(plan: Plan, store: Store) -> None:
    """Runs by their state, cells left out with their sentence."""
    states = Counter(store.status(run.id) for run in plan.runs)
    console.print(f"{plan.name}: {len(plan.runs)} runs, plan digest {plan.digest}", markup=False)
    console.print(", ".join(f"{count} {state}" for state, count in sorted(states.items())), markup=False)
    table = Table("method", "model", "dataset", "recipe", "seeds", "overrides", box=None, padding=(0, 2, 0, 0))
    cells: dict[tuple[str, ...], list[str]] = {}
    for run in plan.runs:
        axes = ("method", "model", "dataset", "recipe")
        extra = " ".join(f"{k}={v}" for k, v in run.choices.items() if k not in (*axes, "seed"))
        cells.setdefault((*(str(run.choices[axis]) for axis in axes), extra), []).append(str(run.choices["seed"]))
    for (*names, extra), seeds in cells.items():
        table.add_row(*names, ",".join(seeds), extra)
    console.print(table)
    for skipped in plan.skipped:
        console.print(f"left out: {_words(skipped.choices)}: {skipped.why}", markup=False, soft_wrap=True)


def print_sweep_end(plan: Plan, store: Store) -> None:
    """The failed runs, each with its kind, where it was and its sentence."""
    for run in plan.runs:
        if store.status(run.id) == "failed" and (failure := store.read(run.id).failure):
            console.print(f"failed {run.id} {_words(run.choices)}", markup=False, soft_wrap=True)
            said = failure.message.splitlines()[0]
            console.print(f"    {failure.kind} in {failure.phase} after step {failure.step}: {said}", markup=False)


def show(quantity: Quantity) -> str:
    """A quantity with its unit, short: `0.953`, `12.3 s`, `410 MiB`, or `not measured (why)`."""
    if isinstance(quantity, NotMeasured):
        return f"not measured ({quantity.why})"
    scale, unit = UNITS.get(quantity.unit, (1, ""))
    value = quantity.value / scale
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _row(quantities: Mapping[str, Quantity]) -> str:
    missing = {q.why for q in quantities.values() if isinstance(q, NotMeasured)}
    found = [f"{name} {show(q)}" for name, q in quantities.items() if isinstance(q, Measured)]
    return "  ".join(found + [f"({why})" for why in sorted(missing)])


def _words(choices: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in choices.items())
