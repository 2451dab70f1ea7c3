"""What was measured is a finite number with a unit and an n; what was not is a sentence. There is no third case."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.ledger.errors import RecordError


@dataclass(frozen=True)
class Measured:
    """A finite `value` in `unit`, from `n` examples, steps or samples."""

    value: float
    unit: str
    n: int = field(default=1, metadata={"schema": {"minimum": 1}})

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.n < 1:
            raise RecordError(f"{self.value} {self.unit} from n = {self.n} is no measurement; use NotMeasured(why)")


@dataclass(frozen=True)
class NotMeasured:
    """Absent, with the reason: `peak device memory: the run was on a CPU`."""

    why: str = field(metadata={"schema": {"minLength": 1}})


Quantity = Measured | NotMeasured


def quantity_to_json(quantity: Quantity) -> dict[str, Any]:
    """`{"value", "unit", "n"}` or `{"why"}`."""
    if isinstance(quantity, NotMeasured):
        return {"why": quantity.why}
    return {"value": quantity.value, "unit": quantity.unit, "n": quantity.n}


def quantity_from_json(raw: Mapping[str, Any]) -> Quantity:
    """The reverse of `quantity_to_json`; raises RecordError for anything else."""
    if set(raw) == {"why"}:
        return NotMeasured(raw["why"])
    if set(raw) == {"value", "unit", "n"}:
        return Measured(raw["value"], raw["unit"], raw["n"])
    raise RecordError(f"{dict(raw)!r} is neither a measurement (value, unit, n) nor a reason (why)")
