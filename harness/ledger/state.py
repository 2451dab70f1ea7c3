"""What the files of one run say: the one judge of whether it is settled, for status, sweeps, workers and reports."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.ledger.errors import RecordError, RecordVersionError
from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.record import CUT_OFF, Record, read_record

Status = Literal["absent", "unfinished", "done", "failed", "damaged"]


@dataclass(frozen=True)
class State:
    """absent (no folder), unfinished (no record), done, failed, or damaged (a record that cannot be read).

    `kind` and `message` are those of a failure; `message` also says why a record cannot be read.
    """

    status: Status
    kind: str = ""
    message: str = ""

    @property
    def settled(self) -> bool:
        """A record that stands. One that was cut off from outside goes on with the next sweep."""
        return self.status == "done" or (self.status == "failed" and self.kind not in CUT_OFF)


def state_of(folder: Path) -> State:
    """The state of the run in a folder. Raises OSError when the disk does not answer.

    A record of a newer version says what became of its run, and settles it: it is not done again here.
    """
    try:
        record = record_in(folder)
    except RecordVersionError as error:
        return _newer(folder / "record.json") or State("damaged", message=str(error))
    except RecordError as error:
        return State("damaged", message=str(error))
    if record is None:
        return State("unfinished" if folder.is_dir() else "absent")
    if record.failure is None:
        return State("done")
    return State("failed", record.failure.kind, record.failure.message)


def _newer(path: Path) -> State | None:
    """What a record of a newer version says, as far as every version says it; None for anything else."""
    raw = json.loads(path.read_bytes())
    failure = raw.get("failure")
    if type(raw.get("schema")) is not int or raw["schema"] <= RECORD_VERSION:
        return None
    if raw.get("status") == "done":
        return State("done")
    if raw.get("status") == "failed" and isinstance(failure, dict):
        return State("failed", str(failure.get("kind", "")), str(failure.get("message", "")))
    return None


def record_in(folder: Path) -> Record | None:
    """The record of the run in a folder, None when there is none.

    Raises RecordError when what is there is no record that this version reads. (`peftlab audit` compares ids.)
    """
    path = folder / "record.json"
    try:
        return read_record(path)
    except FileNotFoundError:
        return None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise RecordError(f"{error.filename}: {error.strerror}; a file or a folder lies in its place.") from error
