"""Every column of the tidy frame, declared once: its name, unit, direction and the field of the record it is read from.

Refuses a measurement in another unit than the declared one: a table never mixes seconds and milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

from harness.ledger.errors import RecordError, nearest

Direction = Literal["max", "min", "none"]


@dataclass(frozen=True)
class Column:
    """One numeric column. `source` is the record's dotted field; `{metric}` is the dataset card's primary metric."""

    name: str
    label: str
    unit: str  # "metric": the unit of the dataset's own metric
    direction: Direction
    source: str


COLUMNS = (
    Column("score", "test score", "metric", "none", "scores.test.{metric}"),
    Column("val_score", "validation score", "metric", "none", "scores.val.{metric}"),
    Column("test_loss", "test loss", "nats", "min", "scores.test.loss"),
    Column("train_loss", "training loss, eval mode", "nats", "min", "scores.train.loss"),
    Column("setup_s", "set-up", "s", "min", "seconds.setup"),
    Column("worker_setup_s", "set-up, once a worker", "s", "min", "seconds.worker_setup"),
    Column("train_s", "training time", "s", "min", "seconds.train"),
    Column("eval_s", "evaluation", "s", "min", "seconds.eval"),
    Column("checkpoint_s", "checkpoints", "s", "min", "seconds.checkpoint"),
    Column("log_s", "logging", "s", "min", "seconds.log"),
    Column("wall_s", "wall clock", "s", "min", "seconds.wall"),
    Column("wasted_s", "training lost to restarts", "s", "min", "seconds.train_wasted"),
    Column("step_ms", "median step", "ms", "min", "speed.step_ms_median"),
    Column("step_ms_p5", "step, 5th percentile", "ms", "min", "speed.step_ms_p5"),
    Column("step_ms_p95", "step, 95th percentile", "ms", "min", "speed.step_ms_p95"),
    Column("step_ms_mad", "step, median absolute deviation", "ms", "min", "speed.step_ms_mad"),
    Column("samples_per_s", "throughput", "1/s", "max", "speed.samples_per_s"),
    Column("tokens_per_s", "non-padding throughput", "1/s", "max", "speed.tokens_per_s"),
    Column("padding_share", "padding share", "share", "min", "speed.padding_share"),
    Column("train_rss_bytes", "peak RSS while training", "bytes", "min", "memory.train_peak_rss"),
    Column("eval_rss_bytes", "peak RSS while evaluating", "bytes", "min", "memory.eval_peak_rss"),
    Column("train_allocated_bytes", "peak allocated while training", "bytes", "min", "memory.train_peak_allocated"),
    Column("train_reserved_bytes", "peak reserved while training", "bytes", "min", "memory.train_peak_reserved"),
    Column("train_device_bytes", "peak device use while training", "bytes", "min", "memory.train_peak_device"),
    Column("weights_bytes", "weights", "bytes", "min", "ledger.weights"),
    Column("adapter_bytes", "adapter", "bytes", "min", "ledger.adapter"),
    Column("gradients_bytes", "gradients", "bytes", "min", "ledger.gradients"),
    Column("optimizer_bytes", "optimizer state", "bytes", "min", "ledger.optimizer"),
    Column("saved_bytes", "saved for backward", "bytes", "min", "ledger.saved_for_backward"),
    Column("flops_per_step", "FLOPs of a step", "FLOP", "min", "work.flops_per_step"),
    Column("steps", "optimizer steps", "count", "none", "work.steps"),
    Column("examples_seen", "examples seen", "count", "none", "work.examples_seen"),
    Column("total_params", "parameters", "count", "min", "parameters.total"),
    Column("trainable_params", "trainable parameters", "count", "min", "parameters.trainable"),
    Column("adapter_params", "adapter parameters", "count", "min", "parameters.adapter"),
    Column("contention.cpu_wait_share", "wait for a CPU while training", "share", "min", "contention.cpu_wait_share"),
    Column("contention.marked", "times not comparable", "share", "none", "contention.marked"),
    Column("head_params", "head parameters", "count", "none", "parameters.head"),
)
DERIVED = (
    Column("peak_bytes", "peak memory while training", "bytes", "min", "train_allocated_bytes, else train_rss_bytes"),
    Column("step_bytes", "memory of a step", "bytes", "min", "train_allocated_bytes, else the ledger's five roles"),
    Column("gap", "signed generalization gap", "nats", "none", "test_loss - train_loss"),
    Column("gap_abs", "generalization error G(W)", "nats", "min", "|test_loss - train_loss|"),
)
LEDGER = ("weights_bytes", "adapter_bytes", "gradients_bytes", "optimizer_bytes", "saved_bytes")
CLOCKS = ("setup_s", "train_s", "eval_s", "checkpoint_s", "log_s")
TEXTS = ("id", "status", "reason", "absent", "fingerprint", "commit", "host", "device", "split", "recipe_digest")

_SAME_UNIT = {
    "s": {"s", "sec", "seconds"},
    "ms": {"ms", "milliseconds"},
    "bytes": {"bytes", "byte", "B"},
    "count": {"count", "1", "", "parameter", "step", "example", "parameters", "steps", "examples"},
    "1/s": {"1/s", "samples/s", "examples/s", "tokens/s", "patches/s", "img/s"},
    "share": {"share", "fraction", "1", "", "ratio"},
    "FLOP": {"FLOP", "FLOPs", "flop", "flops"},
}


def same_unit(declared: str, unit: str) -> bool:
    """True when `found` is a spelling of `declared`. Metrics and losses name their own unit, so any is taken."""
    return declared in ("metric", "nats") or unit in _SAME_UNIT.get(declared, {declared})


def column(name: str) -> Column:
    """The declared column of that name; raises RecordError for another."""
    known = {c.name: c for c in (*COLUMNS, *DERIVED)}
    if name not in known:
        raise RecordError(f"no column '{name}'.{nearest(name, known)}")
    return known[name]
