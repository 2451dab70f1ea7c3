"""Records of several sites as one frame: each held against its own predictions, environments as blocks of their own."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.cache import read_records
from analysis.choices import planned_from_specs
from analysis.frame import Frame
from analysis.load import to_frame
from analysis.sharing.site import Site, read_site
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured
from harness.ledger.record import Record

Key = tuple[str, str]  # site, run id


@contextmanager
def pooled(places: Sequence[Path], name: str = "pool") -> Iterator[Frame]:
    """The frame of the records in these folders and archives, whose files lie in a temporary folder until the end.

    Records that their own folder refutes are damaged rows, as in a sweep's frame; the notes say which were left out,
    and which runs were done at two sites. Raises RecordError for a place without a record.
    """
    with tempfile.TemporaryDirectory() as room:
        root = Path(room)
        sites = [read_site(place, label, root / label) for label, place in _labels(places).items()]
        for site in sites:
            if site.folder != root / site.name:
                (root / site.name).symlink_to(site.folder.resolve(), target_is_directory=True)
        twice, dropped = _repeated(sites)
        plan = _plan(name, sites, dropped)
        rows, curves = read_records(root, list(plan.ids), name)
        frame = to_frame(plan, rows, curves, root, partial=True, allow_mixed=True)
        yield replace(frame, notes=(*_sources(sites), *twice, *frame.notes, *_environments(frame)))


def _labels(places: Sequence[Path]) -> dict[str, Path]:
    """A short name for each place, no two alike."""
    named: dict[str, Path] = {}
    for place in places:
        stem = "".join(c if c.isalnum() or c in "_-" else "-" for c in place.resolve().name.split(".")[0]) or "site"
        named[stem if stem not in named else f"{stem}-{len(named) + 1}"] = place
    return named


def _plan(name: str, sites: list[Site], dropped: set[Key]) -> Plan:
    """All that the sites planned or did, each run under `site/id`. A run that another site did is no hole here."""
    settled = {run for site in sites for run in site.records}
    wanted: dict[str, Planned] = {}
    for site in sites:
        for run in site.plan.runs:
            if run.id in site.records and (site.name, run.id) not in dropped:
                wanted[f"{site.name}/{run.id}"] = run
            elif run.id not in settled:
                settled.add(run.id)
                wanted[f"{site.name}/{run.id}"] = run
    specs = planned_from_specs({key: run.spec for key, run in wanted.items()})
    runs = tuple(replace(run, source=_source(run.id, wanted[run.id])) for run in specs)
    skipped = {str((dict(skip.choices), skip.why)): skip for site in sites for skip in site.plan.skipped}
    return Plan(name, runs, tuple(skipped.values()), _about(sites))


def _source(key: str, run: Planned) -> str | None:
    return f"{key.split('/')[0]}/{run.source}" if run.source else None


def _about(sites: list[Site]) -> dict[str, Any]:
    """Control and margin where all sites have the same; a title of our own."""
    first = sites[0].plan.about
    agreed = {key: first[key] for key in ("control", "margin") if key in first}
    agreed = {key: value for key, value in agreed.items() if all(s.plan.about.get(key) == value for s in sites)}
    return agreed | {"title": f"Records of {len(sites)} sites"}


def _sources(sites: list[Site]) -> list[str]:
    """What each site gave, and what of it was refused."""
    given = ", ".join(f"{site.name} ({len(site.records)} records)" for site in sites)
    notes = [f"Pooled from {given}. Each record was held against its own predictions."]
    for site in (site for site in sites if site.refused):
        run, why = next(iter(site.refused.items()))
        notes.append(f"{site.name}: {len(site.refused)} records refused (first: run {run}, {why}).")
    return notes


def _repeated(sites: list[Site]) -> tuple[list[str], set[Key]]:
    """(sentences on runs that several sites did, those of them that are not counted)."""
    seen: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    said: dict[str, list[str]] = defaultdict(list)
    dropped: set[Key] = set()
    for site in sites:
        for run, record in site.records.items():
            earlier = [(_KINDS.index(_kind(other, record)), name) for name, other in seen[run]]
            seen[run].append((site.name, record))
            if not earlier:
                continue
            place, name = min(earlier)
            kind = _KINDS[place]
            said[kind].append(f"run {run} of {name} and {site.name}")
            dropped |= {(site.name, run)} if kind != _ELSEWHERE else set()
            dropped |= {(name, run)} if kind == _UNEQUAL else set()
    return [f"{kind}: {_first(said[kind])}." for kind in _KINDS if kind in said], dropped


_UNEQUAL = "Of one clock reading and yet unequal, so that neither record counts"
_SAME = "The same record twice, counted once"
_AGAIN = "Done twice in one environment, of which the first that was given counts"
_ELSEWHERE = "Done in several environments, each in a block of its own"
_KINDS = (_UNEQUAL, _SAME, _AGAIN, _ELSEWHERE)  # the gravest first


def _kind(one: Record, other: Record) -> str:
    """What two records of one run are to each other."""
    if _clock(one) and _clock(one) == _clock(other):
        return _SAME if one.scores == other.scores and _where(one) == _where(other) else _UNEQUAL
    return _AGAIN if _where(one) == _where(other) else _ELSEWHERE


def _clock(record: Record) -> tuple[float, ...]:
    """Training and wall seconds, to the last digit; empty where they were not measured."""
    seconds = [record.seconds.get(name) for name in ("train", "wall")]
    return tuple(s.value for s in seconds if isinstance(s, Measured)) if record.status == "done" else ()


def _where(record: Record) -> str:
    return str(record.provenance.get("fingerprint"))


def _first(runs: list[str], most: int = 3) -> str:
    more = len(runs) - most
    return "; ".join(runs[:most]) + (f"; and {more} more" if more > 0 else "")


def _environments(frame: Frame) -> list[str]:
    """What the blocks' short names of environments stand for."""
    done = frame.rows[frame.rows["done"]]
    if done["fingerprint"].nunique() < 2:
        return []
    said = [
        f"{str(fingerprint)[:8]}: {', '.join(sorted(set(runs['device'])))}, of "
        f"{', '.join(sorted(set(runs['id'].str.split('/').str[0])))}"
        for fingerprint, runs in done.groupby("fingerprint", sort=False)
    ]
    return [f"Environments: {'; '.join(said)}."]
