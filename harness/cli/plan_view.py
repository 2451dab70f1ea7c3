"""A plan on a terminal: runs by their state, what each cell needs, sums by model, and the cells left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.fit_notes import fit_notes
from harness.cli.tables import folding_table
from harness.execution.launcher import Machine
from harness.ledger.plan import Plan, Planned
from harness.ledger.store import Store
from harness.ledger.units import format_bytes, format_duration
from harness.planning.estimate import CostEstimate, cell_of, notes
from harness.planning.times import format_flops

AXES = ("method", "model", "dataset")


def print_plan(
    plan: Plan,
    store: Store,
    needs: Sequence[CostEstimate] = (),
    machine: Machine | None = None,
    price: float | None = None,
) -> None:
    """Readable at 80 columns: settings that are too wide for it stand below, what is still too wide folds, and nothing
    is cut.
    """
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=200)
    states = Counter(store.status(run.id) for run in plan.runs)
    console.print(f"{plan.name}: {len(plan.runs)} runs, plan digest {plan.digest}", markup=False, soft_wrap=True)
    console.print(", ".join(f"{count} {state}" for state, count in sorted(states.items())), markup=False)
    sources = list(dict.fromkeys(_source(each) for each in needs))
    rows = _rows(plan, needs, machine, sources)
    needed = _headings(machine) if needs else ()
    settings: list[str] = []
    table = _wide(rows, needed)
    if console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width:
        settings = list(dict.fromkeys(map(_settings, rows)))
        table = _narrow(rows, needed, settings)
    console.print(table)
    said = [f"[{number}] {source}" for number, source in enumerate(sources, start=1)]
    said += [f"s{number}: {words}" for number, words in enumerate(settings, start=1)]
    said += [f"skipped: {_words(each.choices)}: {each.why}" for each in plan.skipped]
    said += [*_by_model(needs), *fit_notes(needs, price), *notes(needs, machine)] if needs else []
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _CellRow:
    """A cell of the plan. chosen: recipe and all beside the axes; needs: of `_headings`."""

    axes: tuple[str, str, str]
    seeds: str
    needs: tuple[str, ...]
    chosen: str


def _rows(plan: Plan, needs: Sequence[CostEstimate], machine: Machine | None, sources: Sequence[str]) -> list[_CellRow]:
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run.choices), []).append(run)
    rows = []
    for number, runs in enumerate(cells.values()):
        choices = runs[0].choices
        others = (f"{k}={v}" for k, v in choices.items() if k not in (*AXES, "recipe", "seed"))
        seeds = _seeds([run.choices["seed"] for run in runs])
        need = (*_needs(needs[number], machine), f"[{sources.index(_source(needs[number])) + 1}]") if needs else ()
        method, model, dataset = (str(choices[axis]) for axis in AXES)
        rows.append(_CellRow((method, model, dataset), seeds, need, " ".join([str(choices["recipe"]), *others])))
    return rows


def _wide(rows: Sequence[_CellRow], needed: Sequence[str]) -> Table:
    table = _table(*AXES, "seeds", *needed, "recipe, settings")
    for row in rows:
        table.add_row(*map(Text, (*row.axes, row.seeds, *row.needs, row.chosen)))
    return table


def _narrow(rows: Sequence[_CellRow], needed: Sequence[str], settings: Sequence[str]) -> Table:
    """By model; seeds and settings by the number under which they stand below."""
    table, last = _table("method", "dataset", *needed, ""), None
    for row in rows:
        method, model, dataset = row.axes
        if model != last:
            table.add_row(Text(model, style="bold"))
        last = model
        table.add_row(*map(Text, (method, dataset, *row.needs, f"s{settings.index(_settings(row)) + 1}")))
    return table


def _settings(row: _CellRow) -> str:
    return f"seeds {row.seeds}; {row.chosen}"


def _table(*headings: str) -> Table:
    """Names and words stay whole: numbers fold between theirs before a name does."""
    table = folding_table(*headings, box=None, padding=(0, 1), pad_edge=False)
    for heading, column in zip(headings, table.columns, strict=True):
        column.no_wrap = heading in AXES
        column.min_width = max(map(len, heading.split()), default=2)
    return table


def _seeds(seeds: Sequence[int]) -> str:
    """`12, 22, 32`; of many, the first, the last and how many."""
    return ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]} … {seeds[-1]} ({len(seeds)})"


def _headings(machine: Machine | None) -> tuple[str, ...]:
    """Of `_needs`, and of where they are from."""
    memory = "memory" if machine and machine.device == "cpu" else "GPU memory"
    return (memory, "training of a run", *(("host memory", "whole run") if machine else ()), "from")


def _needs(estimate: CostEstimate, machine: Machine | None) -> tuple[str, ...]:
    """Memory and time, and for a machine what sizes its jobs."""
    job = (format_bytes(estimate.host_bytes), format_duration(estimate.wall_seconds)) if machine else ()
    work = format_flops(estimate.flops) if estimate.flops and estimate.seconds is None else None
    return format_bytes(estimate.bytes), work or format_duration(estimate.seconds), *job


def _source(estimate: CostEstimate) -> str:
    """Where time is from, and memory when that is not what the notes say."""
    return "; ".join(([] if estimate.ledger else [estimate.memory_from]) + [estimate.seconds_from])


def _by_model(needs: Sequence[CostEstimate]) -> list[str]:
    """`minilm: 24 runs, 7 min of training; largest memory 690 MB (full on kinship)`, a sentence for each model."""
    said = []
    for model in dict.fromkeys(each.choices["model"] for each in needs):
        cells = [each for each in needs if each.choices["model"] == model]
        known = [each.seconds * each.runs for each in cells if each.seconds is not None]
        time = f"{format_duration(sum(known))} of training" if len(known) == len(cells) else "training time not known"
        said.append(f"{model}: {_runs(cells)}, {time}{_largest(cells)}")
    return said


def _runs(cells: Sequence[CostEstimate]) -> str:
    count = sum(each.runs for each in cells)
    return f"{count} run{'s' * (count > 1)}"


def _largest(cells: Sequence[CostEstimate]) -> str:
    counted = [each for each in cells if each.bytes is not None]
    if not counted:
        return ""
    most = max(counted, key=lambda each: each.bytes or 0)
    return f"; largest memory {format_bytes(most.bytes)} ({most.choices['method']} on {most.choices['dataset']})"


def _words(choices: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in choices.items())
