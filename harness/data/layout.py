"""Where a split's files lie in a folder, and what the tree named by PEFTLAB_MIRROR holds. Standard library only."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.errors import DataError

KINDS = {".parquet": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "json", ".json": "json"}
READ = "NAME.parquet, .csv, .tsv, .jsonl or .json (the last four also .gz)"
_CONTENT_HASH = re.compile(r"-[0-9a-f]{16}(?=\.)")  # in the names of shards that the `datasets` library writes


def kind_of(path: Path) -> str:
    """parquet, csv, tsv or json, by the name; text files hold JSON lines. Raises DataError for any other name."""
    kind = _kind(path) or ("json" if path.suffix.lower() == ".txt" else None)
    if kind is None:
        raise DataError(f"{path}: a file of this kind cannot be read; what can: {READ}.")
    return kind


def upstream_splits(spec: DatasetSpec) -> list[str]:
    """The source's splits that a card needs, each once."""
    named = (spec.split.train, spec.split.validation, spec.split.test)
    return list(dict.fromkeys(split for split in named if split))


def split_files(folder: Path, split: str, patterns: Mapping[str, str]) -> list[Path]:
    """Files of one split: by the card's pattern, else `<split>.…` or the shards `<split>-…` in `folder` or in its
    `data/`, or all of `<split>/`. Raises DataError when they are not one file or one set of shards.
    """
    if split in patterns:
        return [path for path in sorted(folder.glob(patterns[split])) if path.is_file()]
    inner = (folder / split, folder / "data" / split)
    named = [path for place in (folder, folder / "data") for path in _data_files(place) if _begins(path, split)]
    if not named and (text := folder / f"{split}.txt").is_file():
        return [text]
    files = named + [path for place in inner for path in _data_files(place)]
    _check_one_set(split, files)
    return files


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


def _data_files(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.iterdir() if path.name[0] not in "._" and path.is_file() and _kind(path))
        if folder.is_dir()
        else []
    )


def _begins(path: Path, split: str) -> bool:
    return path.name.startswith((f"{split}.", f"{split}-"))


def _kind(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        kind = KINDS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if kind == "parquet" else kind
    return KINDS.get(suffixes[-1]) if suffixes else None


def _check_one_set(split: str, files: Sequence[Path]) -> None:
    """The shards of a set have one folder and one name but for their numbers, and are as many as they say."""
    sets = {(path.parent, re.sub(r"\d+", "#", _CONTENT_HASH.sub("", path.name))) for path in files}
    if len(sets) > 1:
        raise DataError(
            f"split {split} has more than one source: {', '.join(map(str, files))}; "
            f"name the one that is meant, as in files: {{{split}: {files[0].name}}}."
        )
    for total in {match[1] for path in files if (match := re.search(r"-of-(\d+)", path.name))}:
        if len(files) != int(total):
            raise DataError(
                f"split {split}: {files[0].parent} holds {len(files)} of {int(total)} shards; add the others."
            )
