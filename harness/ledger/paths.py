"""Every path of a run folder, in one place, and the one way a file is written."""

import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
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
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


def write_whole(path: Path, data: str | bytes) -> None:
    """All of it or none: a reader never meets half a file, not even after a power cut."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")  # two writers never share a part file
    try:
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def flush(paths: Iterable[Path]) -> None:
    """Wait until the files are on the disk, as `write_whole` does of its own."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def to_json(tree: Any, *, indent: int | None = 2) -> str:
    """Strict JSON: a NaN or an infinity is an error here, never a file."""
    return json.dumps(tree, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
