"""What one site gave: a folder or an archive of records, each read and held against what it must be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.choices import planned_from_specs
from analysis.sharing.archive import PLAN, unpack
from harness.ledger.dataset_spec import LEFT_OUT
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, plan_from_json
from harness.ledger.record import Record, read_record
from harness.ledger.spec import RunSpec

_ABOUT = {"title": str, "control": str, "margin": int | float}  # what a stranger's plan may say of a comparison


@dataclass(frozen=True)
class Site:
    """`folder` holds the run folders; `records` by id. `refused`: id -> why its record is left out. `plan` is the
    sweep's own where a bundle has it, else made of the records."""

    name: str
    folder: Path
    records: Mapping[str, Record]
    refused: Mapping[str, str]
    plan: Plan


def read_site(place: Path, name: str, room: Path) -> Site:
    """Read a runs folder where it is, or unpack an archive into `room`. Raises RecordError where no record is there."""
    if not place.exists():
        raise RecordError(f"{place} is not there; a folder of runs or a file of `peftlab bundle` is pooled.")
    folder = place if place.is_dir() else room
    if folder is room:
        room.mkdir()
        unpack(place, room)
    records: dict[str, Record] = {}
    refused: dict[str, str] = {}
    for path in sorted(folder.glob("[0-9a-f]" * 16 + "/record.json")):
        try:
            records[path.parent.name] = _read(path)
        except (RecordError, SpecError, OSError) as error:
            refused[path.parent.name] = str(error).replace(f"{path}: ", "")
    if not records:
        first = f" (first of {len(refused)} that were refused: {next(iter(refused.values()))})" if refused else ""
        raise RecordError(
            f"{place} holds no record that can be read{first}; `peftlab bundle sweep=NAME` makes such a file."
        )
    return Site(name, folder, records, refused, _plan(folder / PLAN, records))


def _read(path: Path) -> Record:
    """A record whose spec this version reads, and whose id is that of the spec."""
    record = read_record(path)
    checked(record.spec, path.parent.name)
    return record


def checked(spec: Mapping[str, Any], name: str) -> None:
    """Raises SpecError for what is no spec, RecordError where `name` is not its id (unless its data's path is left out,
    without which no id can be recomputed)."""
    parsed = parse(RunSpec, spec, "spec")
    if LEFT_OUT not in json.dumps(spec) and run_id(parsed) != name:
        raise RecordError(f"its spec has the id {run_id(parsed)}")


def _plan(path: Path, records: Mapping[str, Record]) -> Plan:
    """Of a bundle: what was planned there, so that a hole is seen. Of a folder of runs, or a plan that cannot be
    believed: the records themselves."""
    specs = {run: record.spec for run, record in records.items()}
    try:
        plan = plan_from_json(json.loads(path.read_bytes()))
        for run in plan.runs:
            checked(run.spec, run.id)
        absent = {run: spec for run, spec in specs.items() if run not in plan.ids}
        about = {key: plan.about[key] for key, kind in _ABOUT.items() if isinstance(plan.about.get(key), kind)}
        skipped = tuple(skip for skip in plan.skipped if isinstance(skip.why, str) and isinstance(skip.choices, dict))
        return Plan(str(plan.name), (*plan.runs, *planned_from_specs(absent)), skipped, about)
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecordError,
        SpecError,
        RecursionError,
    ):
        return Plan("", planned_from_specs(specs), (), {})
