"""The folders that configs lie in, and the names that each group offers. Standard library only."""

import os
from functools import cache
from pathlib import Path

GROUPS = ("method", "model", "dataset", "recipe", "sweep", "cluster", "tracker")


def conf_dirs() -> list[Path]:
    """Where configs are looked for: $PEFTLAB_CONF (your own, first), then the project's."""
    own = os.environ.get("PEFTLAB_CONF")
    return ([Path(own).resolve()] if own and Path(own).is_dir() else []) + [
        Path(__file__).resolve().parents[2] / "conf"
    ]


def choices(group: str) -> tuple[str, ...]:
    """The names a group offers, from the files on disk."""
    return _names(group, *conf_dirs())


@cache
def _names(group: str, *folders: Path) -> tuple[str, ...]:
    files = (path for folder in folders for path in (folder / group).glob("*.yaml") if path.is_file())
    return tuple(sorted({path.stem for path in files}))
