"""The record of a run: a typed, versioned document with its provenance inside. Written once, never edited."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from harness.ledger.errors import RecordError
from harness.ledger.migrate import RECORD_VERSION, migrated
from harness.ledger.quantity import NotMeasured, Quantity, quantity_from_json, quantity_to_json

CLOCKS = ("setup", "train", "eval", "checkpoint", "log")
FailureKind = Literal["oom", "diverged", "data", "exception", "interrupt", "timeout", "node"]
CUT_OFF = ("interrupt", "timeout", "node")  # kinds that came from outside: such a run goes on


@dataclass(frozen=True)
class Failure:
    """Why a run has no score. `phase` is a clock's name; `step` the last finished optimizer step."""

    kind: FailureKind
    phase: str
    step: int
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Point:
    """One validation pass. `train_loss` is the mean of the steps since the last point, in train mode."""

    step: int
    epoch: float
    train_seconds: float
    train_loss: float
    lr: float
    val: Mapping[str, float]  # metric name -> value, `loss` among them


@dataclass(frozen=True)
class Record:
    """What one run said. Quantities that were not measured hold their reason.

    scores: split ("test", "val", "train") -> metric name -> quantity. The dataset's card names the primary one.
    seconds: the five clocks and `wall`, `train_wasted` (work lost to a restart).
    speed: step_ms_median, step_ms_p5, step_ms_p95, step_ms_mad, samples_per_s, tokens_per_s, padding_share.
    memory: train_ and eval_: start_rss, peak_rss (CPU); peak_allocated, peak_reserved, peak_device (CUDA).
    ledger: weights, adapter, gradients, optimizer, saved_for_backward (bytes; exact on any machine).
    work: flops_per_step, steps, examples_seen.
    parameters: total, trainable, adapter, head.
    """

    schema: int
    id: str
    spec: Mapping[str, Any]
    status: Literal["done", "failed"]
    failure: Failure | None
    selected: Mapping[str, Any]  # step, epoch, metric, value of the checkpoint that was tested
    scores: Mapping[str, Mapping[str, Quantity]]
    seconds: Mapping[str, Quantity]
    speed: Mapping[str, Quantity]
    memory: Mapping[str, Quantity]
    ledger: Mapping[str, Quantity]
    work: Mapping[str, Quantity]
    parameters: Mapping[str, Quantity]
    curve: tuple[Point, ...]
    data: Mapping[str, Any]  # revision or content hash, sizes and digests of the splits
    links: tuple[Mapping[str, Any], ...]  # one entry per finished chain link
    provenance: Mapping[str, Any]  # git, packages, host, device, fingerprint, started, finished
    attempts: int = 1
    notes: tuple[str, ...] = field(default=())

    @property
    def may_go_on(self) -> bool:
        """Cut off from outside rather than failed by itself: the next sweep takes it up again, from its checkpoint."""
        return self.failure is not None and self.failure.kind in CUT_OFF


_QUANTITIES = ("seconds", "speed", "memory", "ledger", "work", "parameters")


def failure_record(run_id: str, spec: Mapping[str, Any], failure: Failure, why: str) -> Record:
    """The record of a run that left nothing but its failure; `why` no clock has a time."""
    seconds = dict.fromkeys(CLOCKS, NotMeasured(why))
    return Record(RECORD_VERSION, run_id, spec, "failed", failure, {}, {}, seconds, {}, {}, {}, {}, {}, (), {}, (), {})


def record_to_json(record: Record) -> dict[str, Any]:
    """Plain, strict JSON data; docs/record.schema.json describes it."""
    plain = {f.name: getattr(record, f.name) for f in fields(record)}
    plain["failure"] = None if record.failure is None else vars(record.failure)
    plain["curve"] = [vars(point) for point in record.curve]
    plain["scores"] = {split: _quantities(found) for split, found in record.scores.items()}
    plain |= {name: _quantities(getattr(record, name)) for name in _QUANTITIES}
    return plain


def record_from_json(raw: Mapping[str, Any]) -> Record:
    """The reverse, of any version up to this one; raises RecordError for a newer one, or with fields missing."""
    try:
        raw = migrated(raw)
        parts: dict[str, Any] = dict(raw)
        parts["failure"] = None if raw["failure"] is None else Failure(**raw["failure"])
        parts["curve"] = tuple(Point(**point) for point in raw["curve"])
        parts["scores"] = {split: _back(found) for split, found in raw["scores"].items()}
        parts |= {name: _back(raw[name]) for name in _QUANTITIES}
        parts |= {"links": tuple(raw["links"]), "notes": tuple(raw["notes"])}
        return Record(**parts)
    except (KeyError, TypeError, AttributeError) as error:
        name = raw.get("id") if isinstance(raw, Mapping) else raw
        raise RecordError(
            f"record {name}: not of version {RECORD_VERSION} ({error!r}); delete it to run again."
        ) from error


def read_record(path: Path) -> Record:
    """Raises RecordError when the file is no record (truncated, say); the sentence names the file."""
    try:
        return record_from_json(json.loads(path.read_bytes()))
    except ValueError as error:
        raise RecordError(f"{path}: not a record ({error}); delete it to run again.") from error


def _quantities(found: Mapping[str, Quantity]) -> dict[str, Any]:
    return {name: quantity_to_json(quantity) for name, quantity in found.items()}


def _back(found: Mapping[str, Any]) -> dict[str, Quantity]:
    return {name: quantity_from_json(raw) for name, raw in found.items()}
