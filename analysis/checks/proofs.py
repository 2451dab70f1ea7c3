"""The checks of many runs, each done once for the files it read: what they said is kept beside the records.

Like every cache here it is never the truth: `fresh` asks again, and `peftlab audit` does.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import orjson
import pandas as pd

from analysis import cache
from analysis.checks.between import Facts, between, facts_of
from analysis.checks.evidence import FILES, read_evidence
from analysis.checks.finding import Finding
from analysis.checks.run import check_evidence, check_run
from harness.ledger.errors import RecordError

_CODE = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:12]


class _Row(NamedTuple):
    """What the folder of one run said: `findings` and `facts` as JSON texts."""

    id: str
    stamp: str
    findings: str
    facts: str


def prove(runs: Path, ids: Sequence[str], name: str, *, fresh: bool = False) -> tuple[Finding, ...]:
    """Everything that the folders of these runs say against their records, run by run, then between runs."""
    path = cache.path(runs, name, f"{_CODE}.proofs")
    kept = None if fresh else cache.read(path)
    stamps = {run_id: stamp for run_id in dict.fromkeys(ids) if (stamp := _stamp(f"{runs}/{run_id}"))}
    texts = [] if kept is None else [kept[name].to_numpy(object) for name in _Row._fields]
    known = {row[0]: _Row(*row) for row in zip(*texts, strict=True)}
    known = {run_id: row for run_id, row in known.items() if row.stamp == stamps.get(run_id)}
    rows = [known.get(run_id) or _checked(runs, run_id, stamp) for run_id, stamp in stamps.items()]
    if kept is None or len(known) < len(rows) or len(kept) > len(rows):
        cache.write(path, pd.DataFrame(rows, columns=list(_Row._fields)))
    alone = tuple(_finding(raw) for row in rows for raw in orjson.loads(row.findings))
    return (*alone, *between(Facts(**orjson.loads(row.facts)) for row in rows if row.facts))


def _checked(runs: Path, run_id: str, stamp: str) -> _Row:
    """`run_id` may lead through a site's folder (site/id): it is what findings call the run then."""
    folder = runs / run_id
    try:
        run = read_evidence(folder)
        findings, facts = check_evidence(run), facts_of(run)
    except (RecordError, KeyError, TypeError, ValueError, OSError, AttributeError):
        findings, facts = check_run(folder), None
    named = [asdict(replace(finding, where=run_id, runs=(run_id,))) for finding in findings]
    known = "" if facts is None else orjson.dumps(asdict(replace(facts, id=run_id))).decode()
    return _Row(run_id, stamp, orjson.dumps(named).decode(), known)


def _finding(raw: dict) -> Finding:
    return Finding(raw["kind"], raw["where"], raw["what"], raw["level"], tuple(raw["runs"]))


def _stamp(folder: str) -> str:
    """When the files that are checked were last changed, and their sizes; empty without a record."""
    words = []
    for name in FILES:
        try:
            stat = os.stat(f"{folder}/{name}")
        except OSError:
            words.append("-")
        else:
            words.append(f"{stat.st_mtime_ns}:{stat.st_size}")
    return "" if words[0] == "-" else " ".join(words)
