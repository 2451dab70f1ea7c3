"""Records of earlier versions are read as this one's; one of a newer version is one sentence, and left out alone."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.execution.queue import is_settled
from harness.ledger.errors import RecordError, RecordVersionError
from harness.ledger.migrate import RECORD_VERSION, migrated
from harness.ledger.paths import to_json
from harness.ledger.record import record_from_json, record_to_json
from harness.ledger.store import Store

OLD = Path(__file__).parents[1] / "store_v1" / "runs"
TEXTS, FAILED = "8eba08724223dfd5", "54775a3c88e66797"


def raw_of(run):
    return json.loads((OLD / run / "record.json").read_bytes())


@pytest.fixture
def runs(tmp_path):
    return shutil.copytree(OLD, tmp_path / "runs")


def edit(runs, run, **changes):
    (runs / run / "record.json").write_text(json.dumps(json.loads((runs / run / "record.json").read_bytes()) | changes))


def test_version_one_said_shortened_where_this_one_says_truncated():
    raw = raw_of(TEXTS)
    record = record_from_json(raw)
    assert record.schema == RECORD_VERSION
    for split, facts in raw["data"]["splits"].items():
        assert facts["shortened"] > 0
        assert record.data["splits"][split] == {
            "n": facts["n"], "digest": facts["digest"], "truncated": facts["shortened"], "from": facts["from"]
        }  # fmt: skip
    assert raw == raw_of(TEXTS), "what was read is not edited"


@pytest.mark.parametrize("run", [TEXTS, FAILED])
def test_nothing_but_that_word_and_what_is_newer_changes(run):
    text = json.dumps(raw_of(run), sort_keys=True)
    now = text.replace('"shortened"', '"truncated"').replace('"schema": 1', f'"schema": {RECORD_VERSION}')
    assert json.loads(to_json(record_to_json(record_from_json(raw_of(run))))) == json.loads(now) | {"contention": {}}


def test_a_record_of_this_version_is_left_as_it_is():
    raw = record_to_json(record_from_json(raw_of(TEXTS)))
    assert migrated(raw) is raw


def test_a_newer_version_is_one_sentence():
    with pytest.raises(
        RecordVersionError, match=rf"version 99 is of a newer peftlab, this one reads up to {RECORD_VERSION}"
    ):
        record_from_json(raw_of(TEXTS) | {"schema": 99})


@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.0])
def test_what_is_no_version_is_said(version):
    with pytest.raises(RecordError, match="is no version of a record"):
        record_from_json(raw_of(TEXTS) | {"schema": version})


@pytest.mark.parametrize("damage", [{"data": None}, {"data": {"splits": {"train": 3}}}, {"curve": [1]}, {"scores": []}])
def test_a_record_of_another_shape_is_a_sentence(damage):
    with pytest.raises(RecordError, match=f"record {TEXTS}: not of version"):
        record_from_json(raw_of(TEXTS) | damage)


def test_only_the_newer_record_is_left_out(runs, caplog):
    edit(runs, TEXTS, schema=99)
    with caplog.at_level(logging.WARNING):
        ids = {record.id for record in Store(runs).records()}
    assert ids == {path.parent.name for path in OLD.glob("*/record.json")} - {TEXTS}
    assert [entry.message for entry in caplog.records if TEXTS in entry.message]


def test_verbs_go_on_beside_a_newer_record(runs, capsys):
    for run in (TEXTS, FAILED):
        edit(runs, run, schema=99)
    assert main(["status", "--json", "--runs", str(runs)]) == 0
    assert main(["explain", "method=cla", "seed=7", f"runs={runs}"]) == 0
    assert is_settled(Store(runs), TEXTS) and is_settled(Store(runs), FAILED), "what is newer is never done again"
    capsys.readouterr()
    assert main(["plan", "sweep=quickstart", "--no-estimate", f"runs={runs}"]) == 0
