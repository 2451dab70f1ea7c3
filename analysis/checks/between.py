"""Runs against each other: no two have one clock reading, and all of a dataset were tested on the same questions."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from analysis.checks.evidence import Evidence, value
from analysis.checks.finding import Finding, Unproved


@dataclass(frozen=True)
class Facts:
    """Of one finished run: what can be held against another run's. Empty text where it is not known."""

    id: str
    clock: str  # training and wall seconds and the test loss, to the last digit
    dataset: str  # a digest of the dataset's source, content and split
    splits: str  # a digest of the splits' digests
    test: str  # the test split's digest
    targets: str  # a digest of the test rows' ids and targets, as predictions.parquet has them


def facts_of(run: Evidence) -> Facts | None:
    """None for a run that did not finish."""
    if not run.done:
        return None
    seconds = [value(run.record.seconds, name) for name in ("train", "wall")]
    clock = "" if None in seconds else repr([*seconds, value(run.record.scores.get("test", {}), "loss")])
    dataset = _digest({key: run.dataset.get(key) for key in ("name", "source", "content", "split")})
    splits: Mapping[str, Any] = run.record.data.get("splits") or {}
    digests = {name: split.get("digest") for name, split in splits.items()}
    return Facts(
        run.record.id, clock, dataset, _digest(digests) if digests else "", str(digests.get("test", "")), _targets(run)
    )


def between(runs: Iterable[Facts]) -> tuple[Finding, ...]:
    """Findings about several runs each."""
    known = tuple(runs)
    return (*_copies(known), *_questions(known), *_splits(known))


def _copies(runs: tuple[Facts, ...]) -> Iterator[Finding]:
    """Two runs never take one time to the nanosecond and end at one loss: one is a copy, nobody can tell which."""
    for same in _groups(runs, lambda run: run.clock).values():
        if len(same) > 1:
            ids = tuple(run.id for run in same)
            text = f"training seconds, wall seconds and test loss are equal to the last digit in {', '.join(ids)}"
            yield Finding("copy", ids[0], text, "refuted", ids)


def _questions(runs: tuple[Facts, ...]) -> Iterator[Finding]:
    for same in _groups(runs, lambda run: run.targets and run.test and f"{run.dataset}/{run.test}").values():
        counts = Counter(run.targets for run in same)
        if len(counts) == 1:
            continue
        most = counts.most_common(2)
        usual = most[0][0] if most[0][1] > most[1][1] else None
        ids = tuple(run.id for run in same if run.targets != usual)
        text = f"the targets in predictions.parquet are not those of {len(same) - len(ids)} other runs of this dataset"
        yield Finding("predictions", ids[0], text, "refuted", ids)


def _splits(runs: tuple[Facts, ...]) -> Iterator[Finding]:
    for same in _groups(runs, lambda run: run.splits and run.dataset).values():
        counts = Counter(run.splits for run in same)
        if len(counts) > 1:
            rare = min(counts, key=lambda splits: counts[splits])
            ids = tuple(run.id for run in same if run.splits == rare)
            text = f"{len(ids)} runs have other splits than {len(same) - len(ids)} runs of the same dataset"
            yield Finding("splits", ids[0], text, "suspicious", ids)


def _groups(runs: tuple[Facts, ...], key: Any) -> dict[str, list[Facts]]:
    """Runs by key; those without one are in no group."""
    groups: dict[str, list[Facts]] = defaultdict(list)
    for run in runs:
        if name := key(run):
            groups[name].append(run)
    return groups


def _targets(run: Evidence) -> str:
    try:
        rows = run.predictions
    except (Unproved, ValueError, OSError, KeyError):
        return ""
    return _digest(sorted(zip(map(str, rows["id"]), map(str, rows["target"]), strict=True)))


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]
