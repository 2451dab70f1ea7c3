"""Why a run costs what it costs, from its own record and those of its cell: time, memory, and what a step computes.

Numbers alone: a step's time is its FLOPs times the time of each, and both are measured; why a FLOP takes longer in one
method than in another no record knows (docs/faq.md does).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.ledger.errors import RecordError
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.planning.history import canonical_spec, task_of

CLOCKS = ("setup", "train", "eval", "checkpoint", "log")  # they add up to the wall time


@dataclass(frozen=True)
class StepTaken:
    """Medians over `runs` of one method in one cell and one environment. ms: of a step, over the whole training."""

    method: str
    runs: int
    ms: float | None
    gflop: float | None
    ledger: Mapping[str, float]  # bytes by role

    @property
    def bytes(self) -> float:
        return sum(self.ledger.values())


@dataclass(frozen=True)
class RunCost:
    """clocks: seconds by name. own: of this run alone. others: of the other methods of its cell, by time."""

    id: str
    clocks: Mapping[str, float]
    own: StepTaken
    others: Sequence[StepTaken]
    why_not_comparable: str | None


def run_cost(run_id: str, store: Store) -> RunCost:
    """Raises RecordError for a run without a score."""
    if store.status(run_id) not in ("done", "failed"):
        raise RecordError(f"run {run_id} has no record in {store.root}: what did not end has no cost to explain.")
    record = store.read(run_id)
    if record.status != "done":
        raise RecordError(f"run {run_id} failed: its cost is that of no training; `peftlab logs {run_id}` says how.")
    clocks = {name: value for name in CLOCKS if (value := _value(record.seconds.get(name))) is not None}
    others = [] if record.why_not_comparable else list(_others(record, store.records()))
    return RunCost(run_id, clocks, _of([record]), others, record.why_not_comparable)


def _others(record: Record, records: Iterable[Record]) -> Iterator[StepTaken]:
    """A method each: those with the same model, data, recipe and environment, whose times may be compared."""
    groups: dict[str, list[Record]] = {}
    for other in records:
        is_alike = _cell(other) == _cell(record) and other.status == "done" and not other.why_not_comparable
        if is_alike and (method := canonical_spec(other.spec["method"])) != canonical_spec(record.spec["method"]):
            groups.setdefault(method, []).append(other)
    yield from sorted(map(_of, groups.values()), key=lambda cost: (cost.ms is None, cost.ms or 0.0, cost.method))


def _cell(record: Record) -> tuple[str, ...]:
    """Model, data and recipe but for the rates, which methods tune for themselves; and where it was done."""
    source = record.spec.get("source")
    start = canonical_spec(source) if source else ""
    return canonical_spec(record.spec["model"]), task_of(record.spec), start, str(record.provenance.get("fingerprint"))


def _of(records: Sequence[Record]) -> StepTaken:
    roles = dict.fromkeys(role for record in records for role in record.ledger)
    ledger = {role: _median(_value(record.ledger.get(role)) for record in records) for role in roles}
    return StepTaken(
        str(records[0].spec["method"]["name"]),
        len(records),
        _median(map(_step_ms, records)),
        _median(flops and flops / 1e9 for flops in (_value(r.work.get("flops_per_step")) for r in records)),
        {role: size for role, size in ledger.items() if size is not None},
    )


def _step_ms(record: Record) -> float | None:
    train, steps = _value(record.seconds.get("train")), _value(record.work.get("steps"))
    return 1e3 * train / steps if train and steps else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _value(quantity: Quantity | None) -> float | None:
    return quantity.value if isinstance(quantity, Measured) else None
