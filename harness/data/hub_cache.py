"""What lies on this machine of the hub's repositories. Nothing is downloaded."""

import json
import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from harness.data.hub import SMALL, WEIGHTS, cached, data_patterns
from harness.data.layout import split_files, upstream_splits
from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.model_spec import HubModel, ModelSpec


@dataclass(frozen=True)
class Artifact:
    """One repository of the hub, or the part of it that a card names."""

    kind: Literal["model", "dataset"]
    name: str  # of the card
    repo: str
    config: str | None  # of a dataset
    revision: str | None
    patterns: tuple[str, ...]  # which files
    splits: tuple[str, ...]  # of a dataset, by their upstream names
    files: tuple[tuple[str, str], ...]  # upstream split, pattern; empty: files are named by their split
    gate: str | None  # what a person has to do first

    @property
    def address(self) -> str:
        return (
            self.repo + (f" ({self.config})" if self.config else "") + (f" @ {self.revision}" if self.revision else "")
        )


def locate(artifact: Artifact, mirror: Path | None) -> Path | None:
    """The folder that holds all of it: under `mirror`, else in the hub's cache; None when it is nowhere complete."""
    if mirror is not None and (folder := _in_mirror(artifact, mirror)) is not None:
        return folder
    snapshot = _snapshot(artifact)
    return snapshot if snapshot is not None and not missing_files(artifact, snapshot) else None


def mirror_of() -> Path | None:
    """The mirror tree that runs look into first."""
    place = os.environ.get("PEFTLAB_MIRROR")
    return Path(place).expanduser() if place else None


def mirror_folder(artifact: Artifact, mirror: Path) -> Path:
    return mirror / artifact.repo / (artifact.config or "")


def cache_folder(artifact: Artifact) -> Path:
    """Where the hub's own cache keeps the repository, whether it is there or not."""
    return cached(artifact.repo, artifact.kind)


def missing_files(artifact: Artifact, snapshot: Path) -> list[str]:
    """Files, or patterns of files, that a snapshot should hold and does not."""
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    if artifact.kind == "dataset":
        return [pattern for pattern in artifact.patterns if not any(fnmatch(name, pattern) for name in names)]
    weights = [pattern for pattern in artifact.patterns if pattern not in SMALL]
    absent = [] if "config.json" in names else ["config.json"]
    if not any(fnmatch(name, pattern) for name in names for pattern in weights):
        absent.append(" or ".join(weights))
    for index in snapshot.glob("*.index.json"):  # the shards that the weights are cut into
        shards = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        absent += sorted(s for s in shards - set(names) if any(fnmatch(s, pattern) for pattern in weights))
    return absent


def artifact_of(spec: ModelSpec | DatasetSpec) -> Artifact | None:
    """The repository that a card is in; None for what needs no hub."""
    source, gate = spec.source, spec.about.get("gate")
    if isinstance(spec, ModelSpec):
        if not isinstance(source, HubModel) or spec.size == "tiny":
            return None
        patterns = (*SMALL, *WEIGHTS[source.weights])
        return Artifact("model", spec.name, source.id, None, source.revision, patterns, (), (), gate)
    if not isinstance(source, HubData):
        return None
    splits = tuple(upstream_splits(spec))
    patterns = tuple(data_patterns(spec, source))
    files = tuple(source.files.items())
    return Artifact("dataset", spec.name, source.id, source.config, source.revision, patterns, splits, files, gate)


def _in_mirror(artifact: Artifact, mirror: Path) -> Path | None:
    """The folder of a mirror that has every split, under its own name or under the hub's names (all of a model)."""
    folder = mirror / artifact.repo
    if artifact.kind == "model":
        return folder if folder.is_dir() and not missing_files(artifact, folder) else None
    for place, patterns in ((mirror_folder(artifact, mirror), {}), (folder, {}), (folder, dict(artifact.files))):
        if place.is_dir() and all(split_files(place, split, patterns) for split in artifact.splits):
            return place
    return None


def _snapshot(artifact: Artifact) -> Path | None:
    """The folder of the wanted revision in the hub's cache; None where the cache has nothing of it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: dict[str, Any] = {"repo_type": artifact.kind, "revision": artifact.revision}
    try:
        return Path(
            snapshot_download(artifact.repo, local_files_only=True, allow_patterns=list(artifact.patterns), **asked)
        )
    except LocalEntryNotFoundError:
        return None
