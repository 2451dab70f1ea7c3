"""Where a split's files lie in a folder, and what the tree named by PEFTLAB_MIRROR holds. Standard library only."""

import os
from collections.abc import Mapping
from pathlib import Path

from harness.ledger.dataset_spec import DatasetSpec, HubData

SUFFIXES = (".parquet", ".csv", ".jsonl", ".json", ".txt")


def upstream_splits(spec: DatasetSpec) -> list[str]:
    """The source's splits that a card needs, each once."""
    named = (spec.split.train, spec.split.validation, spec.split.test)
    return list(dict.fromkeys(split for split in named if split))


def split_files(folder: Path, split: str, patterns: Mapping[str, str]) -> list[Path]:
    """Files of one split: by the card's pattern, else those named `<split>.…` or `<split>-…`."""
    if split in patterns:
        return sorted(folder.glob(patterns[split]))
    files = (path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return sorted(path for path in files if path.name.split(".")[0].split("-")[0] == split)


def mirrored(repo: str) -> Path | None:
    """The folder of a hub id under PEFTLAB_MIRROR, if there is one."""
    mirror = os.environ.get("PEFTLAB_MIRROR")
    folder = Path(mirror, repo) if mirror else None
    return folder if folder and folder.is_dir() else None


def mirrored_data(spec: DatasetSpec, source: HubData) -> tuple[Path, Mapping[str, str]] | None:
    """Folder and patterns of a dataset in the mirror: `<id>/[config/]<split>-…`, or the repository's own files.

    None when the mirror lacks its training split: other configs of the same id may be there.
    """
    folder = mirrored(source.id)
    if folder is None:
        return None
    for place in (folder / (source.config or ""), folder):
        if place.is_dir() and split_files(place, spec.split.train, {}):
            return place, {}
    return (folder, source.files) if source.files and split_files(folder, spec.split.train, source.files) else None
