"""Whether the report of a sweep is still of what the store holds, so that nothing is computed for nothing.

A stamp beside the page says what it was made of: plan, records, what was measured of runs since, other plans of the
store, what was checked before, and the code that made it. Files are looked at, not read.
"""

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from harness.ledger.paths import write_whole
from harness.ledger.plan import Plan

STAMP = ".made_of"
PAGE = "index.html"


def is_current(plan: Plan, runs: Path, folder: Path) -> bool:
    """Whether the page in `folder` was made of all that is there now."""
    try:
        return (folder / PAGE).is_file() and (folder / STAMP).read_text(encoding="ascii") == _digest(plan, runs)
    except (OSError, UnicodeDecodeError):
        return False


def stamp(plan: Plan, runs: Path, folder: Path) -> None:
    """Say beside a page what it was made of."""
    if folder.is_dir():
        write_whole(folder / STAMP, _digest(plan, runs))


def _digest(plan: Plan, runs: Path) -> str:
    known = sorted(f"{path.parent.name}/{path.name}" for path in (runs / "plans").glob("*/*.json"))
    parts = [plan.address, str(plan.about), *known, *_code()]  # a plan's file is named for what it holds
    parts += _stats(runs / "checks", f"{plan.name}.json")
    for run_id in plan.ids:
        parts += _stats(runs / run_id, "record.json")
        parts += [line for kind in _folders(runs / run_id) for line in _stats(kind, ".json")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code() -> Iterator[str]:
    spec = find_spec("analysis")  # not imported: it takes seconds
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in (Path(place), *sorted(path for path in Path(place).rglob("*") if path.is_dir())):
            yield from _stats(folder, "")


def _stats(folder: Path, ending: str) -> list[str]:
    """Name, size and time of each file with this ending."""
    try:
        files = [entry for entry in os.scandir(folder) if entry.name.endswith(ending) and entry.is_file()]
    except OSError:
        return []
    found = sorted((entry.path, entry.stat()) for entry in files)
    return [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in found if not path.endswith(".pyc")]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []
