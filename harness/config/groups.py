"""The folders that configs lie in, and the names that each group offers. Standard library only."""

import os
from functools import cache
from pathlib import Path

GROUPS = ("method", "model", "dataset", "recipe", "sweep", "cluster", "tracker")
HERE = Path("peftlab_conf")  # configs of one's own where PEFTLAB_CONF names no other folder
OURS = Path(__file__).resolve().parents[2] / "conf"


def own_conf() -> Path:
    """Where configs of one's own are, and where `peftlab new` puts them: $PEFTLAB_CONF, else ./peftlab_conf."""
    return Path(os.environ.get("PEFTLAB_CONF") or HERE).resolve()


def conf_dirs() -> list[Path]:
    """Where configs are looked for: your own, first, where there are any; then the project's."""
    own = own_conf()
    return ([own] if own.is_dir() else []) + [OURS]


def choices(group: str) -> tuple[str, ...]:
    """The names a group offers, from the files on disk."""
    return _names(group, *conf_dirs())


def look_again() -> None:
    """Forget what the folders held: a config was written."""
    _names.cache_clear()


@cache
def _names(group: str, *folders: Path) -> tuple[str, ...]:
    files = (path for folder in folders for path in (folder / group).glob("*.yaml") if path.is_file())
    return tuple(sorted({path.stem for path in files}))
