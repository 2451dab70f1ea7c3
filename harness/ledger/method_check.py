"""What `peftlab check-method` found of a method before its sweep: runs/checks/<sweep>.json. The report shows it."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.ledger.errors import SpecError
from harness.ledger.names import check_plain
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole

VERSION = 1
STATES = {"works": "kept", "refused": "refused", "noted": "its own by design", "broken": "broken"}
log = logging.getLogger("peftlab.store")


@dataclass(frozen=True)
class Promise:
    """One row of the contract: what is promised, what came of it (a key of STATES), and its sentence."""

    promise: str
    state: str
    why: str


@dataclass(frozen=True)
class MethodCheck:
    """`code`: the digest of the file that the method is from, as its runs' specs have it; None without a file.

    `probe`: what `harness.probe.result.probe_to_json` gives.
    """

    version: int
    method: str
    code: str | None
    contract: tuple[Promise, ...]
    probe: Mapping[str, Any]


def check_path(runs: Path, sweep: str) -> Path:
    """Where the check before a sweep lies."""
    return runs / "checks" / f"{check_plain(sweep, 'sweep')}.json"


def write_check(runs: Path, sweep: str, check: MethodCheck) -> Path:
    """Write it whole; the last check of a sweep is the one that counts."""
    path = check_path(runs, sweep)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(asdict(check)))
    return path


def read_check(runs: Path, sweep: str) -> MethodCheck | None:
    """The check before a sweep; None where there was none. One that cannot be read is named in a warning."""
    path = check_path(runs, sweep)
    if not path.is_file():
        return None
    try:
        check = parse(MethodCheck, json.loads(path.read_bytes()), "check")
        if check.version != VERSION:
            raise SpecError(f"it is of version {check.version}, and version {VERSION} is read")
    except (OSError, ValueError, RecursionError, SpecError) as error:
        log.warning("%s is left out: %s", path, error)
        return None
    return check
