"""The published JSON schema describes the record: built records pass, mutilated ones do not, and no field
is left out.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.paths import to_json
from harness.ledger.record import Failure, Record, read_record, record_to_json

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "record.schema.json").read_text())
OLD_RECORDS = sorted((ROOT / "tests" / "store_v1").rglob("record.json"))
VALID = jsonschema.Draft202012Validator(DOCUMENT)


@pytest.fixture
def records(written: Callable[..., Path]) -> dict[str, dict[str, Any]]:
    runs = written(fail=(("lora", "minilm", "mrpc", 0),))
    plain = [json.loads(path.read_text()) for path in runs.glob("*/record.json")]
    return {status: next(r for r in plain if r["status"] == status) for status in ("done", "failed")}


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)


def test_records_as_written_pass(records: dict[str, dict[str, Any]]) -> None:
    for record in records.values():
        VALID.validate(record)


def test_the_committed_schema_is_the_one_that_is_made_from_the_dataclasses() -> None:
    made = subprocess.run([sys.executable, "-m", "harness.ledger.schema"], capture_output=True, cwd=ROOT, check=True)
    assert (ROOT / "docs" / "record.schema.json").read_bytes() == made.stdout


@pytest.mark.parametrize("path", OLD_RECORDS, ids=lambda path: path.parent.name)
def test_what_the_first_version_wrote_passes_once_it_is_migrated(path: Path) -> None:
    VALID.validate(json.loads(to_json(record_to_json(read_record(path)))))


def test_the_schema_knows_every_field_of_the_record_and_its_version() -> None:
    names = {f.name for f in fields(Record)}
    assert set(DOCUMENT["properties"]) == names == set(DOCUMENT["required"]) | {"ranks"}
    assert DOCUMENT["properties"]["schema"]["const"] == RECORD_VERSION
    failure = DOCUMENT["properties"]["failure"]["anyOf"][0]
    assert set(failure["properties"]) == {f.name for f in fields(Failure)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("seconds"),
        lambda r: r.update(extra=1),
        lambda r: r.update(id="short"),
        lambda r: r.update(schema=RECORD_VERSION + 1),
        lambda r: r.update(status="running"),
        lambda r: r.update(status="failed"),
        lambda r: r["seconds"].update(train=20.0),
        lambda r: r["seconds"].update(train={"value": None, "unit": "s", "n": 1}),
        lambda r: r["seconds"].update(train={"value": 1.0, "unit": "s"}),
        lambda r: r["seconds"].update(train={"value": 1.0, "unit": "s", "n": 0}),
        lambda r: r["scores"].update(holdout={}),
        lambda r: r["scores"].pop("test"),
        lambda r: r["curve"][0].pop("lr"),
        lambda r: r["spec"].pop("seed"),
        lambda r: r["spec"]["dataset"].pop("metric"),
        lambda r: r["seconds"].update(train={"why": ""}),
        lambda r: r.update(attempts=0),
    ],
)
def test_a_mutilated_record_does_not_pass(records: dict[str, dict[str, Any]], damage: Callable[[Any], Any]) -> None:
    record = copy.deepcopy(records["done"])
    damage(record)
    assert not VALID.is_valid(record)
