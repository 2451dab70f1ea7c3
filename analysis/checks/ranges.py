"""What a number can be at all: units, signs, bounds of metrics, and what must be smaller than what."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.checks.evidence import Evidence, value
from analysis.columns import same_unit
from harness.ledger.quantity import Measured

_SPEED = {"samples_per_s": "1/s", "tokens_per_s": "1/s", "padding_share": "share"}
_UNITS = {"seconds": "s", "memory": "bytes", "ledger": "bytes", "parameters": "count"}
_WORK = {"flops_per_step": "FLOP"}


@dataclass(frozen=True)
class Bounds:
    """A metric's lowest and highest value, and its unit in records."""

    low: float
    high: float
    unit: str


_SHARE, _CORRELATION = Bounds(0, 1, "share"), Bounds(-1, 1, "correlation")
METRICS = {
    **dict.fromkeys(("accuracy", "f1", "f1_macro", "token_accuracy", "exact_match", "rouge_l"), _SHARE),
    **dict.fromkeys(("vqa_accuracy", "anls"), _SHARE),
    **dict.fromkeys(("matthews", "pearson", "spearman"), _CORRELATION),
    "perplexity": Bounds(0, math.inf, "perplexity"),
    "bleu": Bounds(0, 100, "BLEU"),
    "loss": Bounds(-math.inf, math.inf, "nats"),
}
_ROUNDING = 1e-6
_ALL_USED = ("low_rank", "columns", "head")  # updates without a parameter that no forward pass uses


def metrics(run: Evidence) -> Iterator[str]:
    """Every score is inside its metric's range and in its unit."""
    for split, scores in run.record.scores.items():
        for name, quantity in scores.items():
            if isinstance(quantity, Measured) and name in METRICS:
                yield from _metric(f"{split} {name}", quantity, METRICS[name])
    for point in run.record.curve:
        for name, score in point.val.items():
            if name in METRICS and not _inside(score, METRICS[name]):
                yield f"validation {name} {score:g} at step {point.step}"


def _metric(name: str, quantity: Measured, bounds: Bounds) -> Iterator[str]:
    if not _inside(quantity.value, bounds):
        yield f"{name} {quantity.value:g} is outside {bounds.low:g} to {bounds.high:g}"
    if quantity.unit not in (bounds.unit, "", "1"):
        yield f"{name} is in {quantity.unit!r}, not in {bounds.unit!r}"
    if type(quantity.n) is not int:
        yield f"{name} is of n = {quantity.n!r}"


def _inside(score: float, bounds: Bounds) -> bool:
    return bounds.low - _ROUNDING <= score <= bounds.high + _ROUNDING


def amounts(run: Evidence) -> Iterator[str]:
    """Seconds, bytes, counts and speeds are not negative, and each is in its unit."""
    for section, unit in (*_UNITS.items(), ("speed", "ms"), ("work", "count")):
        for name, quantity in getattr(run.record, section).items():
            if isinstance(quantity, Measured):
                expected = (_SPEED if section == "speed" else _WORK).get(name, unit)
                yield from _amount(f"{section}.{name}", quantity, expected)


def _amount(name: str, quantity: Measured, unit: str) -> Iterator[str]:
    if quantity.value < 0:
        yield f"{name} is {quantity.value:g} {quantity.unit}"
    if not same_unit(unit, quantity.unit):
        yield f"{name} is in {quantity.unit!r}, not in {unit!r}"


def orders(run: Evidence) -> Iterator[str]:
    """What cannot be larger than what: percentiles, peaks, parts of a whole."""
    record = run.record
    for section, smaller, larger in (
        ("speed", "step_ms_p5", "step_ms_median"),
        ("speed", "step_ms_median", "step_ms_p95"),
        ("memory", "train_start_rss", "train_peak_rss"),
        ("memory", "train_peak_allocated", "train_peak_reserved"),
        ("memory", "eval_peak_allocated", "eval_peak_reserved"),
        ("parameters", "trainable", "total"),
    ):
        small, large = (value(getattr(record, section), name) for name in (smaller, larger))
        if small is not None and large is not None and small > large * (1 + _ROUNDING):
            yield f"{section}.{smaller} {small:g} is more than {section}.{larger} {large:g}"
    if (share := value(record.speed, "padding_share")) is not None and share > 1:
        yield f"a padding share of {share:g}"


def parameters(run: Evidence) -> Iterator[str]:
    """Trainable parameters are the adapter's and the head's, and the ledger has a gradient of four bytes for each."""
    counts = {name: value(run.record.parameters, name) for name in ("adapter", "head", "trainable")}
    adapter, head, trainable = counts.values()
    if adapter is None or head is None or trainable is None:
        return
    if adapter + head != trainable and run.record.spec["method"]["update"]["kind"] != "full":
        yield f"{adapter:.0f} adapter and {head:.0f} head parameters are not {trainable:.0f} trainable ones"
    gradients, spec = value(run.record.ledger, "gradients"), run.record.spec
    exact = spec["model"].get("dtype") == "float32" and spec["method"]["update"]["kind"] in _ALL_USED
    times = _first_over_last(spec["method"])  # the ledger is of the first step, the counts are of the end
    if gradients is None or not exact or times is None:
        return
    if gradients != 4 * (adapter * times + trainable - adapter):
        yield f"float32 gradients of {gradients:.0f} bytes for {trainable:.0f} trainable parameters"


def _first_over_last(method: Mapping[str, Any]) -> float | None:
    """A method's rank at its first step over that at its end; None where the end depends on the training."""
    schedule = method["schedule"]
    if schedule["kind"] == "in_squeeze":
        return method["update"]["rank"] / (schedule["ranks"] or [1])[-1]
    return None if schedule["kind"] == "grow" else 1
