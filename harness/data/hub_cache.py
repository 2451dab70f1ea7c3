"""What a plan needs of the hub, and what of it lies on this machine. Standard library only; nothing is downloaded."""

import json
import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from harness.data.hub import SMALL, WEIGHTS, data_patterns
from harness.data.layout import split_files, upstream_splits
from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.model_spec import HubModel, ModelSpec
from harness.planning.plan import Request, cell_words
from harness.config.resolve import Resolver, words_of


@dataclass(frozen=True)
class Wanted:
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


def wanted(request: Request, resolver: Resolver) -> list[Wanted]:
    """Every distinct repository that the cells of a sweep, or the named models and datasets, are in."""
    found: dict[tuple[object, ...], Wanted] = {}
    for spec in specs(request, resolver):
        if (one := _wanted(spec)) is not None:
            found.setdefault((one.kind, one.address, one.patterns), one)
    return list(found.values())


def specs(request: Request, resolver: Resolver) -> list[ModelSpec | DatasetSpec]:
    """Every distinct model, then every distinct dataset, of the cells that a request names."""
    cells = list(cell_words(request))
    chosen = [(axis, words_of(axis, cell)) for axis in ("model", "dataset") for cell in cells]
    return [resolver.part(axis, words).spec for axis, words in dict.fromkeys((a, tuple(w)) for a, w in chosen)]


def whereabouts(one: Wanted, mirror: Path | None) -> Path | None:
    """The folder that holds all of it: under `mirror`, else in the hub's cache; None when it is nowhere complete."""
    if mirror is not None and (folder := _in_mirror(one, mirror)) is not None:
        return folder
    snapshot = _snapshot(one)
    return snapshot if snapshot is not None and not lacking(one, snapshot) else None


def mirror_of() -> Path | None:
    """The mirror tree that runs look into first."""
    place = os.environ.get("PEFTLAB_MIRROR")
    return Path(place).expanduser() if place else None


def mirror_folder(one: Wanted, mirror: Path) -> Path:
    return mirror / one.repo / (one.config or "")


def cache_folder(one: Wanted) -> Path:
    """Where the hub's own cache keeps the repository, whether it is there or not."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")).expanduser()
    return hub / f"{one.kind}s--{one.repo.replace('/', '--')}"


def lacking(one: Wanted, snapshot: Path) -> list[str]:
    """Files, or patterns of files, that a snapshot should hold and does not."""
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    if one.kind == "dataset":
        return [pattern for pattern in one.patterns if not any(fnmatch(name, pattern) for name in names)]
    weights = [pattern for pattern in one.patterns if pattern not in SMALL]
    absent = [] if "config.json" in names else ["config.json"]
    if not any(fnmatch(name, pattern) for name in names for pattern in weights):
        absent.append(" or ".join(weights))
    for index in snapshot.glob("*.index.json"):  # the shards that the weights are cut into
        shards = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        absent += sorted(s for s in shards - set(names) if any(fnmatch(s, pattern) for pattern in weights))
    return absent


def _wanted(spec: ModelSpec | DatasetSpec) -> Wanted | None:
    source, gate = spec.source, spec.about.get("gate")
    if isinstance(spec, ModelSpec):
        if not isinstance(source, HubModel) or spec.size == "tiny":
            return None
        patterns = (*SMALL, *WEIGHTS[source.weights])
        return Wanted("model", spec.name, source.id, None, source.revision, patterns, (), (), gate)
    if not isinstance(source, HubData):
        return None
    splits = tuple(upstream_splits(spec))
    patterns = tuple(data_patterns(spec, source))
    files = tuple(source.files.items())
    return Wanted("dataset", spec.name, source.id, source.config, source.revision, patterns, splits, files, gate)


def _in_mirror(one: Wanted, mirror: Path) -> Path | None:
    """The folder of a mirror that has every split, under its own name or under the hub's names (all of a model)."""
    folder = mirror / one.repo
    if one.kind == "model":
        return folder if folder.is_dir() and not lacking(one, folder) else None
    for place, patterns in ((mirror_folder(one, mirror), {}), (folder, {}), (folder, dict(one.files))):
        if place.is_dir() and all(split_files(place, split, patterns) for split in one.splits):
            return place
    return None


def _snapshot(one: Wanted) -> Path | None:
    """The folder of the wanted revision in the hub's cache."""
    place = cache_folder(one)
    reference = place / "refs" / (one.revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else one.revision
    folder = place / "snapshots" / commit if commit else None
    return folder if folder is not None and folder.is_dir() else None
