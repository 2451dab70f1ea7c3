"""What a probe found: one row per entrant, and how each compares with the floor and with the peft library's LoRA.

A ratio of times is taken round by round, between steps that were run within seconds of each other, so that a machine
which slows down (other work, heat) does not decide it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.ledger.quantity import Measured, Quantity, quantity_to_json
from harness.measure.contention import why_not_comparable

RESAMPLES = 2000
NOISY = 0.03  # MAD / median of the step time beyond which a row is flagged (a machine that is not ours alone)


@dataclass(frozen=True)
class Round:
    """One entrant's steps within one round."""

    ms: tuple[float, ...]  # of each step
    cpu_ms: float  # of the process (all threads, waiting excluded), per step


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of a ratio, with the 2.5 and 97.5 % quantiles of that median under resampling of rounds."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class EntrantRow:
    """One entrant. `why`: the reason when it could not be measured; then there is nothing else."""

    name: str
    label: str
    why: str | None = None
    exact: Mapping[str, Quantity] = field(
        default_factory=dict
    )  # ledger, flops_per_step, trainable: equal on any machine
    memory: Mapping[str, Quantity] = field(default_factory=dict)
    speed: Mapping[str, Quantity] = field(default_factory=dict)
    contention: Mapping[str, Quantity] = field(default_factory=dict)  # as of a run, over the timed rounds
    rounds: tuple[Round, ...] = ()

    @property
    def why_not_comparable(self) -> str | None:
        """Why times of this entrant may not be compared: as of a run, or because equal steps took unequal times."""
        counts = {name: q.value for name, q in self.contention.items() if isinstance(q, Measured)}
        if why := why_not_comparable(counts):
            return why
        median, mad = self.speed.get("step_ms_median"), self.speed.get("step_ms_mad")
        if isinstance(median, Measured) and isinstance(mad, Measured) and mad.value > NOISY * median.value:
            return f"equal steps spread by {mad.value / median.value:.0%} (at most {NOISY:.0%} is comparable)"
        return None

    @property
    def noisy(self) -> bool:
        """Whether the times of this entrant may not be compared."""
        return self.why_not_comparable is not None


@dataclass(frozen=True)
class Probe:
    """Everything that one probe found."""

    setting: Mapping[str, Any]  # model, layers, batch, length, device, precision, targets
    rows: tuple[EntrantRow, ...]
    provenance: Mapping[str, Any]

    def row(self, name: str) -> EntrantRow | None:
        return next((row for row in self.rows if row.name == name and row.why is None), None)

    def time_ratio(self, row: EntrantRow, reference: str, *, cpu: bool = False) -> Ratio | None:
        """Step time of `row` over that of `reference` (`cpu`: CPU time of the process); None without rounds of both."""
        other = self.row(reference)
        if other is None or not row.rounds or not other.rounds:
            return None
        return paired_ratio(_each(row.rounds, cpu), _each(other.rounds, cpu))

    def exact_ratio(self, row: EntrantRow, reference: str, name: str) -> float | None:
        """An exact quantity of `row` over that of `reference`, say "saved_for_backward"."""
        other = self.row(reference)
        if other is None or name not in row.exact:
            return None
        above, below = row.exact[name], other.exact[name]
        return above.value / below.value if isinstance(above, Measured) and isinstance(below, Measured) else None


def paired_ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Ratio:
    """Ratio of paired times, by log-ratios and a percentile bootstrap over the pairs."""
    logs = np.log(np.asarray(above)) - np.log(np.asarray(below))
    picks = np.random.default_rng(seed).integers(0, len(logs), (RESAMPLES, len(logs)))
    low, high = np.quantile(np.median(logs[picks], axis=1), (0.025, 0.975))
    return Ratio(*(float(np.exp(v)) for v in (np.median(logs), low, high)), n=len(logs))


def probe_to_json(probe: Probe) -> dict[str, Any]:
    """JSON-ready; every number with its unit and n, every round kept."""
    return {
        "setting": dict(probe.setting),
        "rows": [_row_to_json(probe, row) for row in probe.rows],
        "provenance": dict(probe.provenance),
    }


def _row_to_json(probe: Probe, row: EntrantRow) -> dict[str, Any]:
    if row.why is not None:
        return {"name": row.name, "label": row.label, "why": row.why}
    ratios: dict[str, Any] = {}
    for reference in ("floor", "peft_lora"):
        for kind, cpu in (("step_ms", False), ("cpu_ms", True)):
            ratio = probe.time_ratio(row, reference, cpu=cpu)
            ratios[f"{kind}_over_{reference}"] = None if ratio is None else vars(ratio)
        for name in ("saved_for_backward", "flops_per_step"):
            ratios[f"{name}_over_{reference}"] = probe.exact_ratio(row, reference, name)
    groups = {"exact": row.exact, "memory": row.memory, "speed": row.speed, "contention": row.contention}
    plain = {
        group: {name: quantity_to_json(q) for name, q in quantities.items()} for group, quantities in groups.items()
    }
    rounds = [{"ms": list(round_.ms), "cpu_ms": round_.cpu_ms} for round_ in row.rounds]
    mark = {"noisy": row.noisy, "why_not_comparable": row.why_not_comparable}
    return {"name": row.name, "label": row.label} | mark | plain | {"ratios": ratios, "rounds": rounds}


def _each(rounds: Sequence[Round], cpu: bool) -> list[float]:
    return [round_.cpu_ms if cpu else float(np.median(round_.ms)) for round_ in rounds]
