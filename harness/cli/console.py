"""What the terminal shows: one run's answer, a plan, and how a sweep ended. It measures and decides nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.fit_notes import fit_notes
from harness.execution.launcher import DryRun, Machine
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.ledger.units import format_bytes, format_duration
from harness.planning.estimate import CostEstimate, cell_of, notes

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
    table.add_row("data", "  ".join(_split(name, facts) for name, facts in record.data.get("splits", {}).items()))
    table.add_row("selected", f"step {record.selected['step']} by validation {record.selected['metric']}")
    console.print(table)
    console.print(f"run {record.id}   record: {where}", markup=False, soft_wrap=True)


def _split(name: str, facts: Mapping[str, Any]) -> str:
    """`train 4,092 (51.4% truncated)`: rows, and the share of them that lost words of their context."""
    return f"{name} {facts['n']:,}" + (f" ({facts['truncated']:.1%} truncated)" if facts["truncated"] else "")


def print_plan(
    plan: Plan,
    store: Store,
    needs: Sequence[CostEstimate] = (),
    machine: Machine | None = None,
    price: float | None = None,
) -> None:
    """Runs by their state, what each cell needs, and the cells left out with their sentence."""
    states = Counter(store.status(run.id) for run in plan.runs)
    console.print(f"{plan.name}: {len(plan.runs)} runs, plan digest {plan.digest}", markup=False)
    console.print(", ".join(f"{count} {state}" for state, count in sorted(states.items())), markup=False)
    axes = ("method", "model", "dataset", "recipe")
    about = _headings(machine) if needs else ()
    table = Table(*axes, "seeds", *about, "overrides", box=None, padding=(0, 2, 0, 0))
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run.choices), []).append(run)
    for number, runs in enumerate(cells.values()):
        choices = runs[0].choices
        extra = " ".join(f"{k}={v}" for k, v in choices.items() if k not in (*axes, "seed"))
        need = _needs(needs[number], machine) if needs else ()
        seeds = _seeds([run.choices["seed"] for run in runs])
        table.add_row(*(str(choices[axis]) for axis in axes), seeds, *need, escape(extra))
    wide = console if console.is_terminal else Console(highlight=False, width=200)
    wide.print(table)
    for skipped in plan.skipped:
        console.print(f"left out: {_words(skipped.choices)}: {skipped.why}", markup=False, soft_wrap=True)
    for sentence in [*fit_notes(needs, price), *notes(needs, machine)] if needs else ():
        console.print(sentence, markup=False, soft_wrap=True)


def _seeds(seeds: Sequence[int]) -> str:
    """`12,22,32`; of many, the first, the last and how many."""
    return ",".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]} … {seeds[-1]} ({len(seeds)})"


def _headings(machine: Machine | None) -> tuple[str, ...]:
    """Of `_needs`."""
    memory = "memory" if machine and machine.device == "cpu" else "GPU memory"
    return (memory, "training of a run", *(("host memory", "whole run") if machine else ()), "from")


def _needs(estimate: CostEstimate, machine: Machine | None) -> tuple[str, ...]:
    """Memory, time, for a machine what sizes its jobs, and where it is from when that is not what the notes say."""
    job = (format_bytes(estimate.host_bytes), format_duration(estimate.wall_seconds)) if machine else ()
    sources = ([] if estimate.ledger else [estimate.memory_from]) + [estimate.seconds_from]
    return format_bytes(estimate.bytes), format_duration(estimate.seconds), *job, "; ".join(sources)


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
        said.print(f"left out: {count} cell{'s' * (count > 1)}: {why}", markup=False)


def print_dry_run(shown: DryRun) -> None:
    """The sentences, a table of jobs, and the script of the first."""
    for sentence in shown.said:
        console.print(sentence, markup=False, soft_wrap=True)
    if shown.jobs:
        table = Table("array", *shown.jobs[0], box=None, padding=(0, 2, 0, 0))
        for number, job in enumerate(shown.jobs, start=1):
            table.add_row(str(number), *map(str, job.values()))
        console.print(table)
    if shown.script:
        console.print("\nthe script of array 1, but for names that are drawn when it is submitted:\n")
        print(shown.script)
    console.print("Nothing was submitted.")


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
    shown = [f"{name} {show(q)}" for name, q in quantities.items() if isinstance(q, Measured)]
    return "  ".join(shown + [f"({why})" for why in sorted(missing)])


def _words(choices: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in choices.items())
