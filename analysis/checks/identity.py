"""Whose record it is: folder, id and spec are one thing, and the words are those that records use."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

from analysis.checks.evidence import Evidence
from analysis.checks.finding import Unproved
from harness.ledger.dataset_spec import LEFT_OUT
from harness.ledger.errors import SpecError
from harness.ledger.fingerprint import ENVIRONMENT, fingerprint
from harness.ledger.identity import run_id, to_plain
from harness.ledger.parse import parse
from harness.ledger.record import CLOCKS, FailureKind
from harness.ledger.spec import RunSpec

_PEOPLE = ("about",)  # of a spec: words that enter no id


def identity(run: Evidence) -> Iterator[str]:
    """The id is the folder's name and the digest of the spec; spec.json says the same."""
    record = run.record
    if record.id != run.paths.id:
        yield f"the record is of run {record.id}"
    if _is_shared(record.spec):
        raise Unproved("the place of its data was left out when it was shared, so that its id cannot be recomputed")
    try:
        recomputed = run_id(parse(RunSpec, record.spec, "spec"))
    except SpecError as error:
        raise Unproved(f"its spec is not one that this version reads ({error})") from error
    if recomputed != record.id:
        yield f"its spec has the id {recomputed}"


def spec_file(run: Evidence) -> Iterator[str]:
    """spec.json, written before training, holds the record's spec."""
    if run.spec_file == run.record.spec:
        return
    before, now = (_science(to_plain(spec)) for spec in (run.spec_file, run.record.spec))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield f"{key} is {now.get(key)!r} in the record and {before.get(key)!r} in spec.json"


def vocabulary(run: Evidence) -> Iterator[str]:
    """done has scores and no failure; failed has a failure, of a known kind and phase, and no scores."""
    record, failure = run.record, run.record.failure
    if record.status not in ("done", "failed"):
        yield f"status {record.status!r} is neither done nor failed"
    if (record.status == "failed") != (failure is not None):
        yield f"status {record.status} with {'a' if failure else 'no'} failure"
    if failure is not None and (failure.kind not in get_args(FailureKind) or failure.phase not in CLOCKS):
        yield f"failure of kind {failure.kind!r} in {failure.phase!r}"
    if run.done and run.dataset["metric"] not in record.scores.get("test", {}):
        yield f"done without a test score ({run.dataset['metric']})"
    if record.status == "failed" and record.scores:
        yield "failed, and has scores"
    if type(record.attempts) is not int or record.attempts < 1:
        yield f"{record.attempts!r} attempts"


def provenance(run: Evidence) -> Iterator[str]:
    """The fingerprint is the digest of the environment that the record describes."""
    facts = run.record.provenance
    if missing := [name for name in ("packages", "device", "threads") if name not in facts]:
        raise Unproved(f"the record does not name its {', '.join(missing)}")
    if (recomputed := fingerprint(facts)) != facts.get("fingerprint"):
        named = ", ".join(name for name in ENVIRONMENT if name in facts)
        yield f"fingerprint {facts.get('fingerprint')}, but {named} have the fingerprint {recomputed}"
    commit = (facts.get("git") or {}).get("commit")
    if commit is not None and not re.fullmatch(r"[0-9a-f]{7,64}", str(commit)):
        yield f"commit {commit!r} is none"
    if "finished" in facts and datetime.fromisoformat(facts["finished"]).tzinfo is None:
        yield f"finished {facts['finished']!r} has no time zone"


def _is_shared(spec: Mapping[str, Any]) -> bool:
    """Whether the spec, or that of the run it starts from, lacks the path of its data."""
    source = spec["dataset"].get("source") or {}
    return source.get("path") == LEFT_OUT or bool(spec.get("source") and _is_shared(spec["source"]))


def _science(spec: object, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value, without words for people."""
    if not isinstance(spec, dict):
        return {prefix.removesuffix("."): spec}
    parts = (_science(part, f"{prefix}{key}.") for key, part in spec.items() if key not in _PEOPLE)
    return {key: item for part in parts for key, item in part.items()}
