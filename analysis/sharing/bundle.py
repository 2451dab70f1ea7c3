"""One file of a sweep's records that can be given to others: what proves them, and nothing of the machine."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.checks.evidence import PREDICTIONS
from analysis.checks.proofs import prove
from analysis.sharing.archive import PLAN
from analysis.sharing.scrub import Scrub, clean, clean_provenance, clean_record, clean_spec, exposed, scrub_for
from harness.ledger.dataset_spec import LEFT_OUT
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths, to_json, whole
from harness.ledger.plan import Plan, plan_to_json, read_plan
from harness.ledger.side_record import SideRecord

_WHEN = (1980, 1, 1, 0, 0, 0)  # of every member: the same records make the same file


@dataclass(frozen=True)
class Bundle:
    """What was written. `refuted`: runs whose records cannot be true, and are not in it. `local`: datasets of files of
    this machine, whose targets and predictions are in it."""

    path: Path
    records: int
    missing: int
    refuted: tuple[str, ...]
    local: tuple[str, ...]


def bundle(sweep: str, runs: Path, out: Path) -> Bundle:
    """Write `out`, a zip of plan, records, specs, event logs, test predictions and side records.

    Host and user names, paths and secrets are masked (analysis/sharing/scrub.py). Raises RecordError when there is
    something at `out`, no record, or a setting that enters the id and holds a path or a secret.
    """
    if out.exists():
        raise RecordError(f"{out} is there already; name another file, or remove it.")
    plan = read_plan(runs, sweep)
    _check_settings(plan)
    refuted = {run for f in prove(runs, plan.ids, sweep) if f.level == "refuted" for run in f.runs}
    folders = [RunPaths(runs / run_id) for run_id in plan.ids if run_id not in refuted]
    folders = [folder for folder in folders if folder.record.is_file()]
    if not folders:
        raise RecordError(f"sweep {sweep} has no record in {runs} that could be shared; `peftlab status {sweep}`.")
    scrub = scrub_for(filter(None, map(_host, folders)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        _put(archive, PLAN, to_json(plan_to_json(_clean_plan(plan, scrub)), indent=None))
        for folder in folders:
            for name, content in _files(folder, scrub):
                _put(archive, f"{folder.id}/{name}", content)
    missing = len(plan.ids) - len(folders) - len(refuted)
    return Bundle(out, len(folders), missing, tuple(sorted(refuted)), _local(plan))


def said(made: Bundle) -> tuple[str, ...]:
    """What a person should know before the file is given away."""
    holes = f", {made.missing} planned runs have none" if made.missing else ""
    lines = [f"{made.path}: {made.records} records with their test predictions{holes}."]
    lines += [f"Left out, as their records cannot be true (`peftlab audit`): {', '.join(made.refuted)}."] * bool(
        made.refuted
    )
    if made.local:
        lines.append(
            f"It holds the ids, targets and predictions of the test rows of {', '.join(made.local)}, which are files "
            "of this machine: are they yours to give?"
        )
    return (*lines, "Host and user names, paths and secrets are masked; look into it before you give it away.")


def _check_settings(plan: Plan) -> None:
    for run in plan.runs:
        for key in exposed({part: value for part, value in run.spec.items() if part != "source"}):
            if key != "dataset.source.path":
                raise RecordError(
                    f"{key} holds what looks like a path, an address or a secret, and is part of the id of run "
                    f"{run.id}: nothing is bundled. Take it out of the config and run the sweep again."
                )


def _files(folder: RunPaths, scrub: Scrub) -> Iterator[tuple[str, str | bytes]]:
    """(name within the run's folder, content) of all that is shared of a run."""
    yield "record.json", to_json(clean_record(json.loads(folder.record.read_bytes()), scrub))
    if folder.spec.is_file():
        yield "spec.json", to_json(clean_spec(json.loads(folder.spec.read_bytes()), scrub))
    if folder.events.is_file():
        yield "events.jsonl", _clean_lines(folder.events, scrub)
    if folder.predictions.is_file():
        yield "predictions.parquet", _clean_predictions(folder.predictions)
    for path in sorted(folder.folder.glob("*/" + "[0-9a-f]" * 16 + ".json")):
        if side := _clean_side(path, scrub):
            yield f"{path.parent.name}/{path.name}", to_json(side)


def _clean_lines(path: Path, scrub: Scrub) -> str:
    """The whole lines of an event log; torn ones are left out."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(to_json(clean(json.loads(line), scrub), indent=None))
        except ValueError:
            continue
    return "".join(lines)


def _clean_predictions(path: Path) -> bytes:
    """The columns that are checked, without anything that a writer keeps beside them."""
    table = pq.read_table(path)
    table = table.select([name for name in PREDICTIONS if name in table.column_names]).replace_schema_metadata(None)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


def _clean_side(path: Path, scrub: Scrub) -> dict[str, Any] | None:
    """None for what is no side record, or of which the question itself would have to be masked."""
    try:
        raw = json.loads(path.read_bytes())
        side = parse(SideRecord, raw, "side record")
        question = clean(raw["question"], scrub)
        kept = replace(side, question=question, provenance=clean_provenance(side.provenance, scrub))
    except (OSError, ValueError, TypeError, SpecError):
        return None
    if kept.digest != path.stem:
        return None
    return raw | {"answer": clean(raw["answer"], scrub), "provenance": dict(kept.provenance)}


def _clean_plan(plan: Plan, scrub: Scrub) -> Plan:
    runs = tuple(
        replace(run, choices=_choices(clean(run.choices, scrub)), spec=clean_spec(run.spec, scrub)) for run in plan.runs
    )
    skipped = tuple(replace(skip, choices=clean(skip.choices, scrub), why=scrub(skip.why)) for skip in plan.skipped)
    return Plan(plan.name, runs, skipped, clean(plan.about, scrub))


def _choices(choices: dict[str, Any]) -> dict[str, Any]:
    return {key: LEFT_OUT if key.endswith("source.path") else value for key, value in choices.items()}


def _local(plan: Plan) -> tuple[str, ...]:
    found = (run.spec["dataset"] for run in plan.runs)
    return tuple(dict.fromkeys(d["name"] for d in found if (d.get("source") or {}).get("kind") == "folder"))


def _host(folder: RunPaths) -> str:
    try:
        host = json.loads(folder.record.read_bytes())["provenance"].get("host")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return host if isinstance(host, str) else ""


def _put(archive: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    info = zipfile.ZipInfo(name, _WHEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
