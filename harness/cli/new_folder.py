"""A folder that is there whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.ledger.errors import SpecError


def refuse_existing(folder: Path) -> None:
    """Raises SpecError for a place that holds something."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(f"{folder} is there already and is no empty folder; name another one.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside it to write into, which takes its place at the end. Raises SpecError when it cannot be made."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir(parents=True)
    except OSError as error:
        raise SpecError(f"{folder} cannot be made: {error.strerror}.") from error
    try:
        yield part
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
