"""A plan on a terminal: runs by their state, what each cell needs, sums by model, and the cells left out."""

from collections import Counter
from collections.abc import Mapping, Sequence

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
    """Readable at 80 columns: what is too wide folds, and nothing is cut."""
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=200)
    states = Counter(store.status(run.id) for run in plan.runs)
    console.print(f"{plan.name}: {len(plan.runs)} runs, plan digest {plan.digest}", markup=False, soft_wrap=True)
    console.print(", ".join(f"{count} {state}" for state, count in sorted(states.items())), markup=False)
    sources = list(dict.fromkeys(_source(each) for each in needs))
    console.print(_table(plan, needs, machine, sources))
    said = [f"[{number}] {source}" for number, source in enumerate(sources, start=1)]
    said += [f"skipped: {_words(each.choices)}: {each.why}" for each in plan.skipped]
    said += [*_by_model(needs), *fit_notes(needs, price), *notes(needs, machine)] if needs else []
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True)


def _table(plan: Plan, needs: Sequence[CostEstimate], machine: Machine | None, sources: Sequence[str]) -> Table:
    """A row for each cell; `settings` are its recipe and what else was chosen."""
    headings = (*AXES, "seeds", *(_headings(machine) if needs else ()), "recipe, settings")
    table = folding_table(*headings, box=None, padding=(0, 1), pad_edge=False)
    for column in table.columns[: len(AXES)]:
        column.no_wrap = True  # the settings fold before a name does
    cells: dict[str, list[Planned]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run.choices), []).append(run)
    for number, runs in enumerate(cells.values()):
        choices = runs[0].choices
        others = (f"{k}={v}" for k, v in choices.items() if k not in (*AXES, "recipe", "seed"))
        settings = " ".join([str(choices["recipe"]), *others])
        seeds = _seeds([run.choices["seed"] for run in runs])
        need = (*_needs(needs[number], machine), f"[{sources.index(_source(needs[number])) + 1}]") if needs else ()
        table.add_row(*(Text(str(text)) for text in (*(choices[axis] for axis in AXES), seeds, *need, settings)))
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
