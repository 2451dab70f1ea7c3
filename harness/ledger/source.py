"""Of which code a result is: the commit, and whether the files differed from it."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]  # of this project, or of the copy that a queued job runs


@cache
def git_state(root: Path) -> dict[str, Any]:
    """Commit, and whether tracked files differ from it; null outside a git checkout of this project."""
    if (snapshot := root / "SOURCE.json").is_file():  # the copy of the code that a queued job runs
        return json.loads(snapshot.read_bytes())
    try:
        top = _git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top[0]).resolve() != root:  # installed somewhere inside another project's checkout
            return {"commit": None, "dirty": None}
        return {"commit": top[1], "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or no commit yet
        return {"commit": None, "dirty": None}


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout
