"""Hub data without a hub: the mirror first, then one sentence, within seconds."""

import errno
import json
import threading
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.config.resolve import Resolver
from harness.data.files import read_table
from harness.data.hub import PATIENCE, Unavailable, data_patterns, download, require, unreachable
from harness.data.source import find_source
from harness.ledger.errors import DataError
from tests.parts import part_of

RESOLVER = Resolver()
PAWS = part_of(RESOLVER, "dataset", ("dataset=paws",)).spec
MINILM = part_of(RESOLVER, "model", ("model=minilm",)).spec
NOWHERE = "127.0.0.1:9"  # the discard port: refused at once


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No mirror, no cache, and a hub that does not answer."""
    for name in ("PEFTLAB_MIRROR", "HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://{NOWHERE}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_data_that_is_nowhere_is_one_sentence(alone, tmp_path):
    with pytest.raises(DataError, match=r"^dataset paws: .*\(labeled_final\).* run: peftlab fetch dataset=paws$"):
        require(MINILM, PAWS, tmp_path)
    with pytest.raises(DataError, match=r"127\.0\.0\.1 does not answer"):
        find_source(PAWS).read()


def test_a_hub_that_takes_the_call_and_says_nothing_is_waited_for_once_and_for_a_second_and_a_half(alone, monkeypatch):
    waits = []

    class Never(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return False

    own = SimpleNamespace(Event=Never, Thread=threading.Thread)
    monkeypatch.setattr("harness.data.hub.threading", own)
    monkeypatch.setattr("harness.data.hub.tcp_connect", lambda *where: None)
    assert unreachable() == "127.0.0.1 does not answer"
    assert waits == [PATIENCE] and PATIENCE <= 1.5


@pytest.mark.parametrize(
    ("error", "why", "todo"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full", "HF_HOME"),
        (ConnectionError("peer closed"), "broke off (ConnectionError: peer closed)", "goes on where it stopped"),
        (TimeoutError(), "broke off (TimeoutError: no reason given)", "goes on where it stopped"),
    ],
)
def test_what_stops_a_download_is_said_with_the_next_step(monkeypatch, error, why, todo):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    monkeypatch.setattr("harness.data.hub.unreachable", lambda: None)
    with pytest.raises(Unavailable) as told:
        download("some/model", "model", None, ["*.json"])
    assert why in str(told.value) and todo in told.value.todo


def test_weights_that_are_nowhere_point_to_the_tiny_size(alone, tmp_path):
    kinship = part_of(RESOLVER, "dataset", ("dataset=kinship",)).spec
    with pytest.raises(DataError, match=r"model roberta_base: FacebookAI/roberta-base .*model.size=tiny"):
        require(part_of(RESOLVER, "model", ("model=roberta_base",)).spec, kinship, tmp_path)
    require(part_of(RESOLVER, "model", ("model=roberta_base", "model.size=tiny")).spec, kinship, tmp_path)


def test_offline_is_believed_at_once(alone, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("harness.data.hub.silent", lambda url: pytest.fail("the hub was asked"))
    assert unreachable() == "HF_HUB_OFFLINE is set"


def test_a_mirror_is_looked_into_first_and_needs_no_hub(alone, monkeypatch, tmp_path):
    folder = tmp_path / "mirror" / "google-research-datasets" / "paws" / "labeled_final"
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = {"sentence1": ["a"], "sentence2": ["b"], "label": [1]}
        parquet.write_table(pa.table(rows), folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path / "mirror"))
    require(MINILM, PAWS, tmp_path)
    tables, known = find_source(PAWS).read()
    assert {name: table.num_rows for name, table in tables.items()} == {"train": 1, "validation": 1, "test": 1}
    assert known["revision"] == "mirror" and len(known["sha256"]) == 64


def test_a_mirror_may_hold_the_repositorys_own_files(alone, monkeypatch, tmp_path):
    folio = part_of(RESOLVER, "dataset", ("dataset=folio",)).spec
    folder = tmp_path / folio.source.id
    folder.mkdir(parents=True)
    row = {"story_id": 1, "premises": ["a", "b"], "conclusion": "c", "label": "True", "example_id": 7}
    for name in folio.source.files.values():
        (folder / name).write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path))
    tables, _ = find_source(folio).read()
    assert {name: table.to_pylist() for name, table in tables.items()} == {"train": [row], "validation": [row]}


def test_a_mirror_with_other_configs_of_the_same_id_does_not_count(alone, monkeypatch, tmp_path):
    (tmp_path / "mirror" / "google-research-datasets" / "paws" / "labeled_swap").mkdir(parents=True)
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DataError, match="neither under PEFTLAB_MIRROR"):
        require(MINILM, PAWS, tmp_path)


def test_only_the_files_of_the_card_are_asked_for():
    assert data_patterns(PAWS, PAWS.source) == [
        f"labeled_final/{split}-*.parquet" for split in ("train", "validation", "test")
    ]
    logiqa = part_of(RESOLVER, "dataset", ("dataset=logiqa",)).spec
    assert data_patterns(logiqa, logiqa.source) == ["MRC/train.txt", "MRC/dev.txt", "MRC/test.txt"]


def test_class_numbers_become_the_names_that_the_file_itself_declares(tmp_path):
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    table = pa.table({"label": [1, 0, -1]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    parquet.write_table(table, tmp_path / "train.parquet")
    assert read_table([tmp_path / "train.parquet"])["label"].to_pylist() == ["yes", "no", None]


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    for name in ("train.parquet", "train.json"):
        (tmp_path / name).write_text("{neither]")
        with pytest.raises(DataError, match=f"{name}: not a readable"):
            read_table([tmp_path / name])
