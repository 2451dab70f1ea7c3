"""What is measured after a run lies beside it: `runs/<id>/<kind>/<digest of the question>.json`.

Each kind has its own version. A side record never changes the run, its id or its record; the same question asked again
is the same file.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.ledger.errors import RecordError, SpecError
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths, to_json, write_whole

log = logging.getLogger("peftlab.store")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OF_THE_RUN = ("adapter", "checkpoint", "wandb")  # folders that a run has of its own


@dataclass(frozen=True)
class SideRecord:
    """One question about a finished run, and its answer."""

    kind: str  # its schema's name, and its folder's: small letters, digits and _
    version: int  # of that schema
    run_id: str
    question: Mapping[str, Any]  # all that was asked for and could change the answer
    answer: Mapping[str, Any]
    provenance: Mapping[str, Any]  # where it was measured (harness.measure.environment)

    @property
    def digest(self) -> str:
        """16 hex digits over kind, version and question."""
        asked = {"kind": self.kind, "version": self.version, "question": self.question}
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def path_of(folder: RunPaths, side: SideRecord) -> Path:
    """Where it lies. Raises RecordError for a kind that is no plain name, and for a record of another run."""
    if side.run_id != folder.id:
        raise RecordError(f"side record of run {side.run_id!r}: this is the folder of run {folder.id}.")
    return _home(folder, side.kind) / f"{side.digest}.json"


def write(folder: RunPaths, side: SideRecord) -> Path:
    """Write it whole beside its run. An answer to the same question is replaced.

    Raises RecordError when the run has no record, or for a kind that is no plain name; ValueError when it holds a NaN.
    """
    if not folder.record.is_file():
        raise RecordError(f"run {folder.id} has no record: nothing can be measured of a run that has not ended.")
    path, text = path_of(folder, side), to_json(asdict(side))
    path.parent.mkdir(exist_ok=True)
    write_whole(path, text)
    return path


def read_all(folder: RunPaths, kind: str, version: int) -> list[SideRecord]:
    """Every side record of that kind and version, in the order of digests.

    A file that is none (damaged, of another run, kind or version, under another name) is named in a warning and left
    out. Raises RecordError for a kind that is no plain name.
    """
    sides = []
    for path in sorted(_home(folder, kind).glob("[!.]*.json")):
        try:
            sides.append(_read(path, folder, kind, version))
        except (OSError, ValueError, TypeError, RecursionError, RecordError, SpecError) as error:
            log.warning("%s is left out: %s", path, error)
    return sides


def _read(path: Path, folder: RunPaths, kind: str, version: int) -> SideRecord:
    side = parse(SideRecord, json.loads(path.read_bytes()), "side record")
    if (side.kind, side.run_id) != (kind, folder.id):
        raise RecordError(f"it is of kind {side.kind!r} and run {side.run_id!r}")
    if side.version != version:
        raise RecordError(f"it is of version {side.version}, and version {version} is read")
    if path.stem != side.digest:
        raise RecordError(f"its question has the digest {side.digest}")
    return side


def _home(folder: RunPaths, kind: str) -> Path:
    """The folder of a kind, which is always one inside the run's."""
    if not _KIND.fullmatch(kind) or kind in _OF_THE_RUN:
        raise RecordError(
            f"side record: {kind!r} cannot be a kind; it is a name of small letters, digits and _, and none of "
            f"{', '.join(_OF_THE_RUN)}."
        )
    return folder.folder / kind
