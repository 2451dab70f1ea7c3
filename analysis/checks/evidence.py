"""All that a run left in its folder, read once for every check. Reading garbage is an answer here, never a crash."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.checks.finding import Unproved
from harness.ledger.paths import RunPaths
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import Record, record_from_json

FILES = ("record.json", "spec.json", "events.jsonl", "predictions.parquet")
PREDICTIONS = ("id", "target", "prediction", "score", "loss", "weight")


@dataclass(frozen=True)
class Evidence:
    """One run's folder and its typed record. What is absent raises Unproved when it is asked for."""

    paths: RunPaths
    record: Record

    @property
    def done(self) -> bool:
        return self.record.status == "done"

    @property
    def dataset(self) -> Mapping[str, Any]:
        return self.record.spec["dataset"]

    @property
    def recipe(self) -> Mapping[str, Any]:
        return self.record.spec["recipe"]

    @cached_property
    def spec_file(self) -> Any:
        try:
            return orjson.loads(self.paths.spec.read_bytes())
        except OSError as error:
            raise Unproved("spec.json is not there") from error

    @cached_property
    def events(self) -> tuple[dict[str, Any], ...]:
        """The whole lines of events.jsonl, in order; torn ones are left out."""
        try:
            lines = self.paths.events.read_bytes().splitlines()
        except OSError as error:
            raise Unproved("events.jsonl is not there") from error
        parsed = (_parsed(line) for line in lines)
        return tuple(event for event in parsed if isinstance(event, dict) and {"event", "t"} <= event.keys())

    @cached_property
    def predictions(self) -> Mapping[str, NDArray[Any]]:
        """The columns of predictions.parquet; raises ValueError or KeyError for a file that holds none."""
        if not self.paths.predictions.is_file():
            raise Unproved("predictions.parquet is not there")
        try:
            with pq.ParquetFile(self.paths.predictions) as file:  # a tenth of what a data frame of it costs
                table = file.read(columns=list(PREDICTIONS), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"predictions.parquet cannot be read: {error}") from error
        return {name: np.asarray(table.column(name).to_numpy()) for name in PREDICTIONS}

    def split(self, name: str) -> Mapping[str, Any]:
        """n and digest of a split."""
        splits = self.record.data.get("splits") or {}
        if name not in splits:
            raise Unproved(f"the record does not describe the {name} split")
        return splits[name]

    def last(self, event: str) -> dict[str, Any]:
        """The newest event of that name."""
        events = [e for e in self.events if e["event"] == event]
        if not events:
            raise Unproved(f"events.jsonl has no event '{event}'")
        return events[-1]


def read_evidence(folder: Path) -> Evidence:
    """Raises RecordError, ValueError or OSError where there is no record that can be read."""
    paths = RunPaths(folder)
    return Evidence(paths, record_from_json(orjson.loads(paths.record.read_bytes())))


def value(quantities: Mapping[str, Quantity], name: str) -> float | None:
    """The measured value; None where there is none."""
    quantity = quantities.get(name)
    return float(quantity.value) if isinstance(quantity, Measured) else None


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return None
