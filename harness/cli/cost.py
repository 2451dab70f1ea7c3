"""What a run costs, from its own record, and what its control costs: LoRA or full fine-tuning of the same cell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from json import dumps, loads
from pathlib import Path
from statistics import median
from typing import Any

from harness.ledger.differences import differences
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

ROLES = ("weights", "adapter", "gradients", "optimizer", "saved_for_backward")
RUNNING = ("train", "eval", "checkpoint", "log")  # the clocks after set-up
CONTROLS = ("lora", "full")
_TIMES = ("seconds.", "speed.")
# What runs may differ in and still be held against each other: a rate changes no time of a step.
_FREE = ("method.", "seed", "recipe.lr", "recipe.head_lr", "source.")


@dataclass(frozen=True)
class RunRange:
    """One number over the runs of a control."""

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Control:
    """A method of the same cell and environment: its runs, and each number over them. `silent` says why there are no
    times among them; empty where there are."""

    label: str
    ids: tuple[str, ...]
    numbers: Mapping[str, RunRange]
    silent: str


def numbers_of(record: Record) -> dict[str, float]:
    """What the record measured, by dotted names (`seconds.train`, `ledger.weights`), and two sums, which are left out
    where a part is absent: `ledger.total` (bytes) and `seconds.running` (all clocks but set-up)."""
    groups = {name: getattr(record, name) for name in ("seconds", "speed", "ledger", "work", "parameters")}
    numbers = {
        f"{group}.{name}": quantity.value
        for group, quantities in groups.items()
        for name, quantity in quantities.items()
        if isinstance(quantity, Measured)
    }
    for total, group, parts in (("ledger.total", "ledger", ROLES), ("seconds.running", "seconds", RUNNING)):
        if all(f"{group}.{part}" in numbers for part in parts):
            numbers[total] = sum(numbers[f"{group}.{part}"] for part in parts)
    return numbers


def candidates(record: Record, store: Store) -> list[str]:
    """Runs of the store that may be a control of the record's: spec.json, which is small, names a control on the same
    model and dataset. Where there is none that can be read, the record is asked.
    """
    ids = sorted(path.parent.name for path in store.root.glob("*/record.json"))
    return [run_id for run_id in ids if _may_be_control(record.spec, store.paths(run_id).spec)]


def _may_be_control(own: Mapping[str, Any], path: Path) -> bool:
    try:
        spec = loads(path.read_bytes())
        same = all(spec[axis]["name"] == own[axis]["name"] for axis in ("model", "dataset"))
        return same and spec["method"]["name"] in CONTROLS
    except (OSError, ValueError, KeyError, TypeError):
        return True


def controls_of(record: Record, records: Iterable[Record]) -> list[Control]:
    """LoRA and full fine-tuning as they ran in the record's cell and environment, where they are another method."""
    there = [other for other in records if _same_cell(record, other)]
    return [
        _control(record, same)
        for name in CONTROLS
        if name != record.spec["method"]["name"]
        and (same := _nearest(record, [other for other in there if other.spec["method"]["name"] == name]))
    ]


def _same_cell(record: Record, other: Record) -> bool:
    if other.status != "done" or record.status != "done":
        return False
    if record.provenance.get("fingerprint") != other.provenance.get("fingerprint"):
        return False
    return all(key.startswith(_FREE) for key in differences(record.spec, other.spec))


def _nearest(record: Record, others: Sequence[Record]) -> list[Record]:
    """Runs of one setting of the method: the nearest to the record's own; of equally near ones that with most runs."""

    def setting(other: Record) -> str:
        return dumps(other.spec["method"] | {"about": None}, sort_keys=True)

    groups = [list(same) for _, same in groupby(sorted(others, key=setting), setting)]
    unlike = {id(g): len(differences(record.spec["method"], g[0].spec["method"])) for g in groups}
    return min(groups, key=lambda group: (unlike[id(group)], -len(group)), default=[])


def _control(record: Record, runs: Sequence[Record]) -> Control:
    quiet = [numbers_of(run) for run in runs if run.why_not_comparable is None]
    silent = ""
    if record.why_not_comparable is not None:
        silent = "this run's times are marked"
    elif not quiet:
        silent = "the times of all of its runs are marked"
    every = [numbers_of(run) for run in runs]
    numbers = {
        key: spread
        for key in sorted({key for numbers in every for key in numbers})
        if not (silent and key.startswith(_TIMES))
        and (spread := _spread([n[key] for n in (quiet if key.startswith(_TIMES) else every) if key in n]))
    }
    label = runs[0].spec["method"].get("about", {}).get("label") or runs[0].spec["method"]["name"]
    return Control(label, tuple(run.id for run in runs), numbers, silent)


def _spread(values: Sequence[float]) -> RunRange | None:
    return RunRange(median(values), min(values), max(values), len(values)) if values else None
