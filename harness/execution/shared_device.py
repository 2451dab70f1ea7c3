"""Runs that share a device at the same time: scores stand, timings and device memory do not, and the record says so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.ledger.paths import RunPaths
from harness.ledger.quantity import NotMeasured, Quantity
from harness.ledger.record import NOT_COMPARABLE, Record
from harness.ledger.store import Store

_DEVICE_WIDE = ("train_peak_device", "eval_peak_device")  # of the whole device: the other runs' bytes are in it


@dataclass(frozen=True)
class SharedStore(Store):
    """A store that marks the records it is given."""

    inner: Store
    at_once: int

    def paths(self, run_id: str) -> RunPaths:
        return self.inner.paths(run_id)

    def write(self, record: Record) -> None:
        self.inner.write(not_comparable(record, self.at_once))


def shared(store: Store, at_once: int) -> Store:
    """The store itself when a run has its device alone."""
    return store if at_once == 1 else SharedStore(store.root, store, at_once)


def not_comparable(record: Record, at_once: int) -> Record:
    """Every clock, speed and device-wide memory becomes its reason; the process's own allocations, the exact ledger,
    the FLOPs and the scores stay.
    """
    why = f"{at_once} runs shared the device at the same time"

    def blank(quantities: Mapping[str, Quantity]) -> dict[str, Quantity]:
        return {name: NotMeasured(why) for name in quantities}

    return replace(
        record,
        seconds=blank(record.seconds),
        speed=blank(record.speed),
        memory={**record.memory, **blank({k: v for k, v in record.memory.items() if k in _DEVICE_WIDE})},
        notes=(*record.notes, NOT_COMPARABLE + why),
    )
