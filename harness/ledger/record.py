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
NOT_COMPARABLE = "timings not comparable: "  # how a note begins that says why
FailureKind = Literal["oom", "diverged", "data", "exception", "interrupt", "timeout", "node", "source"]
CUT_OFF = ("interrupt", "timeout", "node")  # kinds that came from outside: such a run goes on


def doc(description: str = "", **schema: Any) -> Any:
    """A field with what the JSON schema says of it beside its type."""
    return field(metadata={"schema": ({"description": description} if description else {}) | schema})


@dataclass(frozen=True)
class Failure:
    """Why a run has no score. `phase` is a clock's name; `step` the last finished optimizer step."""

    kind: FailureKind
    phase: str = doc("A clock's name.")
    step: int = doc("The last finished optimizer step.", minimum=0)
    message: str = doc()
    traceback: str = ""


@dataclass(frozen=True)
class Point:
    """One validation pass. `train_loss` is the mean of the steps since the last point, in train mode."""

    step: int = doc(minimum=0)
    epoch: float = doc()
    train_seconds: float = doc(minimum=0)
    train_loss: float = doc("Mean over the steps since the last point, in train mode.")
    lr: float = doc()
    val: Mapping[str, float] = doc("Metric name to value, `loss` among them.")


@dataclass(frozen=True)
class Record:
    """What one run said; what was not measured holds its reason. docs/record.schema.json is made of this."""

    schema: int = doc(const=RECORD_VERSION)
    id: str = doc("16 hex digits of the SHA-256 of the resolved spec.", pattern="^[0-9a-f]{16}$")
    spec: Mapping[str, Any] = doc("The resolved run spec.")
    status: Literal["done", "failed"] = doc()
    failure: Failure | None = doc("Null when done; otherwise why there is no score.")  # noqa: RUF009
    selected: Mapping[str, Any] = doc("step, epoch, metric, value (of the validation split) of what was tested.")
    scores: Mapping[str, Mapping[str, Quantity]] = doc(
        'Split, then metric name; "loss" is in nats, in eval mode.',
        propertyNames={"enum": ["train", "val", "test"]},
    )
    seconds: Mapping[str, Quantity] = doc(
        "Five disjoint clocks (setup, train, eval, checkpoint, log), the wall clock, training lost to restarts "
        "(train_wasted), and the one-off set-up that the worker paid in this run (worker_setup: setup is absent then, "
        "and wall is without it). Unit s."
    )
    speed: Mapping[str, Quantity] = doc(
        "Of timed training steps: step_ms_median, step_ms_p5, step_ms_p95, step_ms_mad (ms); samples_per_s, "
        "tokens_per_s (non-padding) (1/s); padding_share."
    )
    memory: Mapping[str, Quantity] = doc(
        "Bytes, of training alone (train_) and of evaluation alone (eval_): start_rss, peak_rss (CPU); "
        "peak_allocated, peak_reserved, peak_device (CUDA)."
    )
    ledger: Mapping[str, Quantity] = doc(
        "Bytes by role in one step, exact on any machine: weights, adapter, gradients, optimizer, saved_for_backward."
    )
    work: Mapping[str, Quantity] = doc("flops_per_step (FLOP), steps, examples_seen.")
    parameters: Mapping[str, Quantity] = doc("Counts: total, trainable, adapter, head.")
    curve: tuple[Point, ...] = doc("One entry per validation pass.")
    data: Mapping[str, Any] = doc("Revision or content hash, sizes and digests of the splits.")
    links: tuple[Mapping[str, Any], ...] = doc(
        "One entry per change of the adapter: a link's end, other ranks; last, the ranks."
    )
    provenance: Mapping[str, Any] = doc(
        "git, packages, host, device, fingerprint, started, finished; of tasks with images, what read them (images)."
    )
    attempts: int = field(default=1, metadata={"schema": {"minimum": 1}})
    notes: tuple[str, ...] = field(default=())
    contention: Mapping[str, Quantity] = field(
        default_factory=dict,
        metadata={
            "schema": {
                "description": "Who else used the processor while the run trained: cpu_seconds (of all its threads), "
                "cpu_share, cpu_wait_seconds, cpu_wait_share (waits of all threads over the wall time of training), "
                "cpu_steal_share, cpu_pressure_share, gpu_other_processes, gpu_slowed_share, gpu_sm_mhz; and marked: 1 "
                "when its times may not be compared, and a note says why. Empty in records of versions 1 and 2."
            }
        },
    )

    ranks: tuple[Mapping[str, Any], ...] = field(
        default=(),
        metadata={
            "neutral": (),
            "schema": {
                "description": "Of a run of several processes (provenance.parallel), one entry each: host, seconds, "
                "memory, ledger. The record's own are the clocks of the slowest and the largest memory and ledger."
            },
        },
    )

    @property
    def why_not_comparable(self) -> str | None:
        """Why times of this run may not be compared with others', nor be used to estimate any; None: they may."""
        return next((n.removeprefix(NOT_COMPARABLE) for n in self.notes if n.startswith(NOT_COMPARABLE)), None)

    @property
    def may_go_on(self) -> bool:
        """Cut off from outside rather than failed by itself: the next sweep takes it up again, from its checkpoint."""
        return self.failure is not None and self.failure.kind in CUT_OFF


_QUANTITIES = ("seconds", "speed", "memory", "ledger", "work", "parameters", "contention")


def failure_record(run_id: str, spec: Mapping[str, Any], failure: Failure, why: str) -> Record:
    """The record of a run that left nothing but its failure; `why` no clock has a time."""
    seconds: dict[str, Quantity] = {clock: NotMeasured(why) for clock in CLOCKS}
    return Record(RECORD_VERSION, run_id, spec, "failed", failure, {}, {}, seconds, {}, {}, {}, {}, {}, (), {}, (), {})


def record_to_json(record: Record) -> dict[str, Any]:
    """Plain, strict JSON data; docs/record.schema.json describes it."""
    plain = {f.name: getattr(record, f.name) for f in fields(record)}
    plain["failure"] = None if record.failure is None else vars(record.failure)
    plain["curve"] = [vars(point) for point in record.curve]
    plain["scores"] = {split: _quantities(quantities) for split, quantities in record.scores.items()}
    plain |= {name: _quantities(getattr(record, name)) for name in _QUANTITIES}
    return plain if record.ranks else {name: part for name, part in plain.items() if name != "ranks"}


def record_from_json(raw: Mapping[str, Any]) -> Record:
    """The reverse, of any version up to this one; raises RecordError for a newer one, or with fields missing."""
    try:
        raw = migrated(raw)
        parts: dict[str, Any] = dict(raw)
        parts["failure"] = None if raw["failure"] is None else Failure(**raw["failure"])
        parts["curve"] = tuple(Point(**point) for point in raw["curve"])
        parts["scores"] = {split: _back(quantities) for split, quantities in raw["scores"].items()}
        parts |= {name: _back(raw[name]) for name in _QUANTITIES}
        parts |= {"links": tuple(raw["links"]), "notes": tuple(raw["notes"]), "ranks": tuple(raw.get("ranks", ()))}
        record = Record(**parts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        name = raw.get("id") if isinstance(raw, Mapping) else raw
        raise RecordError(
            f"record {name}: not of version {RECORD_VERSION} ({error!r}); delete it to run again."
        ) from error
    if record.status != ("done" if record.failure is None else "failed"):
        raise RecordError(f"record {record.id}: status {record.status!r} with failure {record.failure!r} is none.")
    return record


def read_record(path: Path) -> Record:
    """Raises RecordError when the file is no record (truncated, say); the sentence names the file."""
    text = path.read_bytes()
    try:
        return record_from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a record ({error}); delete it to run again.") from error


def _quantities(quantities: Mapping[str, Quantity]) -> dict[str, Any]:
    return {name: quantity_to_json(quantity) for name, quantity in quantities.items()}


def _back(quantities: Mapping[str, Any]) -> dict[str, Quantity]:
    return {name: quantity_from_json(raw) for name, raw in quantities.items()}
