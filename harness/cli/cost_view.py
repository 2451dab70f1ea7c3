"""`peftlab explain RUN --cost`: where a run's time and memory went, beside its control's, and why."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.cli.cost import ROLES, Control, candidates, controls_of, numbers_of
from harness.cli.cost_words import NAMES, flop_words, own_reasons, reasons_against, step_words
from harness.cli.tables import folding_table
from harness.ledger.record import CLOCKS, Record
from harness.ledger.store import Store
from harness.ledger.units import format_bytes, format_duration

console = Console(highlight=False)


def show_cost(store: Store, run_id: str, as_json: bool) -> int:
    """Prints it. Raises RecordError where the run has no record."""
    record = store.read(run_id)
    numbers, controls = numbers_of(record), controls_of(record, store.records(candidates(record, store)))
    reasons = own_reasons(record, numbers) + [why for control in controls for why in reasons_against(control, numbers)]
    if as_json:
        print(
            json.dumps(
                {"id": run_id, "numbers": numbers, "controls": [asdict(c) for c in controls], "reasons": reasons}
            )
        )
        return 0
    console.print(_title(record), markup=False)
    console.print(_table(numbers, controls))
    for reason in reasons:
        console.print(f"• {reason}", markup=False)
    if not controls:
        console.print(
            "• No other run of LoRA or full fine-tuning of this cell is in the store, done in this environment."
        )
    return 0


def _title(record: Record) -> str:
    method, model, dataset = (_label(record.spec[axis]) for axis in ("method", "model", "dataset"))
    return f"run {record.id}: {method}, {model} on {dataset}, seed {record.spec['seed']}"


def _label(part: Mapping[str, Any]) -> str:
    return part.get("about", {}).get("label") or part["name"]


def _table(numbers: Mapping[str, float], controls: Sequence[Control]) -> Table:
    heads = [f"× {control.label} ({len(control.ids)})" for control in controls]
    table = folding_table("", "this run", "share", *heads, box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, key, whole, words in _ROWS:
        if key in numbers:
            table.add_row(
                name, words(numbers[key]), _share(numbers, key, whole), *(_ratio(numbers, key, c) for c in controls)
            )
    return table


def _share(numbers: Mapping[str, float], key: str, whole: str) -> str:
    return f"{numbers[key] / numbers[whole]:.0%}" if numbers.get(whole) else ""


def _ratio(numbers: Mapping[str, float], key: str, control: Control) -> str:
    """Over the median of the control's runs."""
    if key == "seconds.wall" and "seconds.setup" not in numbers:
        return "–"  # this wall time is without a set-up, those of the control are not
    spread = control.numbers.get(key)
    return f"{numbers[key] / spread.median:.2f}" if spread and spread.median > 0 else "–"


def _count(value: float) -> str:
    return f"{value:,.0f}"


_ROWS: list[tuple[str, str, str, Callable[[float], str]]] = [
    *((NAMES[clock], f"seconds.{clock}", "seconds.wall", format_duration) for clock in CLOCKS),
    ("wall time", "seconds.wall", "", format_duration),
    ("median step", "speed.step_ms_median", "", step_words),
    ("steps", "work.steps", "", _count),
    ("FLOPs of a step", "work.flops_per_step", "", flop_words),
    ("trained parameters", "parameters.trainable", "parameters.total", _count),
    *((NAMES[role], f"ledger.{role}", "ledger.total", format_bytes) for role in ROLES),
    ("memory of a step", "ledger.total", "", format_bytes),
]
