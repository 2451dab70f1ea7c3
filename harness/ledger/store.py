"""The store: one folder per run. A status is a fact about files, and SLURM is not asked."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.ledger.errors import RecordError
from harness.ledger.paths import RunPaths, to_json, write_whole
from harness.ledger.record import CUT_OFF, Record, read_record, record_to_json

log = logging.getLogger("peftlab.store")
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

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Every record of these runs, or of the store in the order of ids. One that cannot be read (damaged, or of a
        newer version) is named in a warning and left out."""
        known = ids if ids is not None else sorted(path.parent.name for path in self.root.glob("*/record.json"))
        for run_id in known:
            try:
                yield self.read(run_id)
            except RecordError as error:
                log.warning("%s", error)

    def may_go_on(self, run_id: str) -> bool:
        """Whether a failed run was cut off from outside. Asks for no more than every version of a record has."""
        try:
            return json.loads(self.paths(run_id).record.read_bytes())["failure"]["kind"] in CUT_OFF
        except (OSError, ValueError, KeyError, TypeError):
            return False
