"""The store: one folder per run. A status is a fact about files, and SLURM is not asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.ledger.errors import RecordError
from harness.ledger.paths import RunPaths, to_json, write_whole
from harness.ledger.record import Record, read_record, record_to_json

Status = Literal["absent", "unfinished", "done", "failed", "damaged"]


@dataclass(frozen=True)
class Store:
    """The folder that holds the runs."""

    root: Path

    def paths(self, run_id: str) -> RunPaths:
        return RunPaths(self.root / run_id)

    def status(self, run_id: str) -> Status:
        """absent (no folder) · unfinished (no record) · done · failed · damaged (a record that cannot be read)."""
        paths = self.paths(run_id)
        try:
            text = paths.record.read_bytes()
        except FileNotFoundError:
            return "unfinished" if paths.folder.is_dir() else "absent"
        try:
            status = json.loads(text)["status"]
        except (ValueError, KeyError, TypeError):
            return "damaged"
        return status if status in ("done", "failed") else "damaged"

    def read(self, run_id: str) -> Record:
        """Raises RecordError when there is no readable record."""
        path = self.paths(run_id).record
        if not path.is_file():
            raise RecordError(f"run {run_id} has no record in {self.root}; `peftlab status` shows what there is.")
        return read_record(path)

    def write(self, record: Record) -> None:
        """The last file of a run: renamed into place whole."""
        write_whole(self.paths(record.id).record, to_json(record_to_json(record)))

    def records(self) -> Iterator[Record]:
        """Every readable record, in the order of ids; raises RecordError at a damaged one."""
        for path in sorted(self.root.glob("*/record.json")):
            yield read_record(path)
