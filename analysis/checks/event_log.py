"""The record against events.jsonl, which was written line by line while the run went on."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.checks.evidence import Evidence, value
from analysis.checks.finding import Unproved
from harness.ledger.quantity import Measured, Quantity

_SECTIONS = ("seconds", "speed", "memory", "ledger", "work", "parameters")


def last_event(run: Evidence) -> Iterator[str]:
    """The log's last event holds every number of the record."""
    end = run.last("end" if run.done else "failed")
    if end.get("status") != run.record.status:
        yield f"status {run.record.status} in the record, {end.get('status')} in events.jsonl"
    sections: dict[str, Mapping[str, Quantity]] = {name: getattr(run.record, name) for name in _SECTIONS}
    sections |= dict(run.record.scores)
    for section, quantities in sections.items():
        for name, quantity in quantities.items():
            yield from _compared(f"{section}/{name}", quantity, end)
    if run.record.failure is not None and end.get("failure") != run.record.failure.kind:
        yield f"failure {run.record.failure.kind} in the record, {end.get('failure')} in events.jsonl"


def _compared(name: str, quantity: Quantity, end: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(quantity, Measured):
        return  # a shared device: the record leaves out what the log still has
    if name not in end:
        yield f"{name} is {quantity.value:.6g} in the record and not in events.jsonl"
    elif not _same(end[name], quantity.value):
        yield f"{name} is {quantity.value:.6g} in the record and {end[name]} in events.jsonl"


def validation_events(run: Evidence) -> Iterator[str]:
    """Every validation point of the record is in the log as it was then."""
    logged = {event.get("step"): event for event in run.events if event["event"] == "val"}
    for point in run.record.curve:
        event = logged.get(point.step, {})
        recorded = {"train_loss": point.train_loss, "lr": point.lr} | {f"val_{k}": v for k, v in point.val.items()}
        for name, number in recorded.items():
            if name in event and not _same(event[name], number):
                yield f"{name} at step {point.step} is {number:.6g} in the record and {event[name]} in events.jsonl"
    if absent := [str(point.step) for point in run.record.curve if point.step not in logged]:
        raise Unproved(f"the validation after steps {', '.join(absent)} is not in events.jsonl")


def planned_steps(run: Evidence) -> Iterator[str]:
    """A finished run has done the steps that its log says were planned, unless it stops early."""
    totals = [event["total"] for event in run.events if event.get("total")]
    steps = value(run.record.work, "steps")
    if run.done and totals and run.recipe.get("early_stop") is None and steps not in (None, totals[-1]):
        yield f"{steps:g} optimizer steps, and events.jsonl plans {totals[-1]}"


def _same(a: Any, b: float) -> bool:
    return isinstance(a, int | float) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
