"""The store: one folder per run. A status is a fact about files, and SLURM is not asked."""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.ledger.errors import NodeError, RecordError
from harness.ledger.paths import RunPaths, publish, set_aside, to_json
from harness.ledger.record import Record, record_to_json
from harness.ledger.state import State, Status, record_in, state_of

IDENTITY = ".store.json"
log = logging.getLogger("peftlab.store")


class StoreMoved(NodeError):
    """The folder of the store is gone, or is another store now."""


@dataclass(frozen=True)
class Store:
    """The folder that holds the runs."""

    root: Path

    def identity(self) -> str:
        """A text that no other store has, in .store.json; written (with the folder) where there is none."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.root / IDENTITY).exists():
            with suppress(FileExistsError):  # another process was faster
                publish(self.root / IDENTITY, to_json({"store": uuid.uuid4().hex}), lambda: None)
        return (self.root / IDENTITY).read_text(errors="replace")

    def require(self, identity: str) -> None:
        """Raises StoreMoved when the folder is no longer the store that it was."""
        try:
            same = (self.root / IDENTITY).read_text(errors="replace") == identity
        except (FileNotFoundError, NotADirectoryError):
            same = False
        if not same:
            raise StoreMoved(
                f"{self.root} was moved or replaced while its runs were being done; nothing more is written."
            )

    def paths(self, run_id: str) -> RunPaths:
        return RunPaths(self.root / run_id)

    def state(self, run_id: str) -> State:
        """What the run's files say (harness.ledger.state)."""
        return state_of(self.root / run_id)

    def status(self, run_id: str) -> Status:
        """absent (no folder) · unfinished (no record) · done · failed · damaged (a record that cannot be read)."""
        return self.state(run_id).status

    def read(self, run_id: str) -> Record:
        """Raises RecordError when there is no readable record."""
        record = record_in(self.root / run_id)
        if record is None:
            raise RecordError(f"run {run_id} has no record in {self.root}; `peftlab status` shows what there is.")
        return record

    def write(self, record: Record) -> None:
        """The last file of a run, published whole and once: a run ends one time. Raises RecordError when it has ended.

        A record that cannot be read, or of a run that was cut off from outside, is kept aside.
        """
        self.publish(record, lambda: None)

    def publish(self, record: Record, check: Callable[[], None]) -> None:
        """As `write`; `check` is asked at the last moment, and raises when this process may no longer."""
        path, text = self.root / record.id / "record.json", to_json(record_to_json(record))

        def may_publish() -> None:
            check()
            if not path.exists():
                return
            if self.state(record.id).settled:
                raise RecordError(f"run {record.id} has its record already; this one is dropped.")
            set_aside(path, "earlier")

        publish(path, text, may_publish)

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Every record of these runs, or of the store in the order of ids. One that cannot be read (damaged, or of a
        newer version) is named in a warning and left out."""
        known = ids if ids is not None else sorted(path.parent.name for path in self.root.glob("*/record.json"))
        for run_id in known:
            try:
                yield self.read(run_id)
            except RecordError as error:
                log.warning("%s", error)
