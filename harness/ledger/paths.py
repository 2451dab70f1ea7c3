"""Every path of a run folder, in one place, and the one way a file is written."""

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunPaths:
    """The files of one run. `record.json` is written last; its presence means done or failed."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def spec(self) -> Path:
        return self.folder / "spec.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def last(self) -> Path:
        return self.adapter / "last"

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    def log_of(self, node: str) -> Path:
        """What the run's processes of another node print."""
        return self.folder / f"run.{node}.log"

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


def write_whole(path: Path, data: str | bytes) -> None:
    """All of it or none: a reader never meets half a file, not even after a power cut."""
    with whole(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new place to write to, renamed to `path` once it is written; two writers never share one."""
    part = part_of(path)
    try:
        yield part
        flush([part])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def publish(path: Path, data: str, check: Callable[[], None]) -> None:
    """As `write_whole`, but only where nothing is yet, and `check` is asked at the last moment.

    Raises FileExistsError when there is something, and FileNotFoundError when `remove_parts` came in between: whoever
    takes a run over removes what others were about to publish.
    """
    part = part_of(path)
    try:
        part.write_text(data, encoding="utf-8")
        flush([part])
        check()
        try:
            os.link(part, path)
        except FileExistsError:  # an NFS client that asks twice hears of its own success
            if not _is_same(part, path):
                raise
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A name beside `path` that nobody else has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def remove_parts(folder: Path) -> None:
    """Remove what was being written below a folder."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def set_aside(path: Path, why: str = "damaged") -> Path:
    """Keep a file or a folder beside itself as `name.why`, `name.why1`, …; nothing is lost or overwritten."""
    names = (path.with_name(f"{path.name}.{why}{number or ''}") for number in count())
    kept = next(name for name in names if not name.exists() and not name.is_symlink())
    path.rename(kept)
    return kept


def set_misplaced_aside(paths: RunPaths) -> None:
    """A folder where a file of a run belongs, or a file where a folder does, is kept under another name."""
    for path in (paths.spec, paths.events, paths.predictions, paths.log):
        if path.is_dir():
            set_aside(path)
    for path in (paths.checkpoint, paths.adapter):
        if path.exists() and not path.is_dir():
            set_aside(path)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except FileNotFoundError:
        return False


def flush(paths: Iterable[Path]) -> None:
    """Wait until the files are on the disk, as `write_whole` does of its own."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def to_json(tree: Any, *, indent: int | None = 2) -> str:
    """Strict JSON: a NaN or an infinity is an error here, never a file."""
    return json.dumps(tree, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
