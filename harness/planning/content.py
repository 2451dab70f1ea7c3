"""Local data that changed: a run that has a record of other data is planned under a new id, and the record stays."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.config.resolve import PARTS
from harness.data.content import local_content
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import RecordError
from harness.ledger.identity import canonical, id_from_parts
from harness.ledger.parse import parse
from harness.ledger.plan import Planned
from harness.ledger.store import Store

DIGITS = 16  # of the SHA-256, in a spec


def with_content(runs: Sequence[Planned], store: Store, cache: Path) -> tuple[tuple[Planned, ...], tuple[str, ...]]:
    """The runs, those whose record is of other data than lie in the folder or mirror now as runs of `content`; and a
    sentence for each dataset that changed.

    A source run comes before those that start from it. Data are read once for each dataset that has a record.
    """
    parts = _Parts(cache)
    now: dict[str, Planned] = {}  # by the id that was asked for
    changed: dict[str, list[str]] = defaultdict(list)  # dataset -> ids of records of other data
    for run in runs:
        current = _from(run, now.get(run.source or ""), parts)
        if (content := _other_content(current, store, parts)) is not None:
            changed[run.spec["dataset"]["name"]].append(current.id)
            current = _replanned(current, {"dataset": parts.of_content(current.spec["dataset"], content)}, parts)
        now[run.id] = current
    return tuple(now.values()), tuple(_sentence(name, ids) for name, ids in changed.items())


@dataclass
class _Parts:
    """Parts of specs by their identity, so that a plan of 10,000 runs reads and serialises each once."""

    cache: Path
    contents: dict[int, str | None] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    changed: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def content(self, dataset: Mapping[str, Any]) -> str | None:
        """Of the files as they are now."""
        if id(dataset) not in self.contents:
            self.contents[id(dataset)] = local_content(parse(DatasetSpec, dataset, "dataset"), self.cache)
        return self.contents[id(dataset)]

    def of_content(self, dataset: Mapping[str, Any], content: str) -> Mapping[str, Any]:
        return self.changed.setdefault(id(dataset), {**dataset, "content": content[:DIGITS]})

    def text(self, axis: str, part: Mapping[str, Any]) -> str:
        """Canonical, for the id."""
        if id(part) not in self.texts:
            self.texts[id(part)] = canonical(parse(PARTS[axis], part, axis))
        return self.texts[id(part)]


def _from(run: Planned, source: Planned | None, parts: _Parts) -> Planned:
    """The run, starting from its source as that is planned now."""
    if source is None or source.id == run.source:
        return run
    return _replanned(replace(run, source=source.id), {"source": source.spec}, parts)


def _other_content(run: Planned, store: Store, parts: _Parts) -> str | None:
    """Of the data as they are now, when the run has a record of others; else None."""
    dataset = run.spec["dataset"]
    if dataset["source"]["kind"] == "builtin" or "content" in dataset or not store.paths(run.id).record.is_file():
        return None
    content = parts.content(dataset)
    recorded = _recorded(store, run.id) if content else None
    return content if recorded not in (None, content) else None


def _recorded(store: Store, run_id: str) -> str | None:
    """What the record of a run says of the folder or mirror that its data came from; None when it says nothing."""
    try:
        source = store.read(run_id).data.get("source")
    except RecordError:
        return None
    local = isinstance(source, Mapping) and (source.get("kind") == "folder" or source.get("revision") == "mirror")
    return str(source["sha256"]) if local and "sha256" in source else None


def _replanned(run: Planned, changed: Mapping[str, Any], parts: _Parts) -> Planned:
    spec = {**run.spec, **changed}
    texts = {axis: parts.text(axis, spec[axis]) for axis in PARTS}
    return replace(run, id=id_from_parts(**texts, seed=spec["seed"], source=run.source), spec=spec)


def _sentence(name: str, ids: list[str]) -> str:
    runs = "1 run of it is a new one" if len(ids) == 1 else f"{len(ids)} runs of it are new ones"
    return f"dataset {name} changed since run {ids[0]} was made: {runs}; the old records stay."
