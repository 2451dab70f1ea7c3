"""A copy of the code at submission, so that queued jobs run what was submitted, whatever is edited meanwhile."""

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from harness.ledger.paths import to_json, write_whole
from harness.ledger.source import ROOT, git_state

PACKAGES = ("harness", "methods", "slurm", "conf")


def snapshot(runs: Path) -> Path:
    """runs/snapshots/<digest>, made if absent; equal code is one copy. SOURCE.json says of which commit.

    A copy that is no longer whole (a purge of old files took some) is moved aside and made anew.
    """
    root = ROOT
    files = _files(root)
    home = runs / "snapshots" / _digest(root, files)
    if home.is_dir():
        if _digest(home, _files(home)) == home.name:
            return home
        os.rename(home, home.with_name(f".{home.name}.{uuid.uuid4().hex[:8]}.damaged"))
    part = home.with_name(f".{home.name}.{uuid.uuid4().hex[:8]}")
    for file in files:
        target = part / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    write_whole(part / "SOURCE.json", to_json(git_state(root)))
    try:
        os.rename(part, home)  # whole or not at all
    except OSError:  # another submitter was faster; its copy is equal
        shutil.rmtree(part)
    return home


class WrongCode(Exception):
    """A queued job would run other code than was submitted."""


def check(home: Path) -> None:
    """Raises WrongCode when what this process imports is not the snapshot `home`, whole and unaltered."""
    if not home.is_dir():
        raise WrongCode(f"the code that was submitted is gone ({home}): nothing was run. Issue the sweep again.")
    if not os.path.samefile(ROOT, home):
        raise WrongCode(f"this job imports {ROOT}, not the code that was submitted ({home}): nothing was run.")
    if _digest(home, _files(home)) != home.name:
        raise WrongCode(f"the code that was submitted was altered or partly deleted ({home}). Issue the sweep again.")


def _files(root: Path) -> list[Path]:
    files = (path for name in PACKAGES for path in (root / name).rglob("*") if path.is_file())
    return sorted(path for path in files if "__pycache__" not in path.parts and not path.name.endswith(".pyc"))


def _digest(root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
