"""Loading and encoding: one yaml adds a dataset, rows are encoded once, and every process sees the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.config.resolve import Resolver
from harness.data.load import Encoder, load_data
from harness.data.rows import Rows, write_rows
from harness.data.source import find_source
from harness.ledger.errors import DataError
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build
from tests.parts import part_of

ROOT = Path(__file__).resolve().parents[2]
CARD = {
    "name": "fruit",
    "source": {"kind": "folder", "path": "$FRUIT", "files": {}},
    "split": {
        "train": "train", "validation": None, "test": "test", "share": 0.2, "test_share": 0.0,
        "stratify": ["colour"], "group": None, "key": None,
    },
    "task": {
        "kind": "text_classification", "text": ["name"], "shorten": "longest", "prompt": None, "label": "colour",
        "labels": ["green", "red"], "aliases": {}, "max_length": 16,
    },
    "metric": "accuracy", "metrics": ["accuracy"], "direction": "max", "chance": 0.5,
    "about": {"label": "Fruit", "licence": "none", "source": "this test"},
}  # fmt: skip


@pytest.fixture
def fruit(tmp_path, monkeypatch):
    """A dataset of one yaml and two files, in a folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [f"{name} number {i},{colour}" for i in range(20) for name, colour in (("apple", "red"), ("pear", "green"))]
    (folder / "train.csv").write_text("name,colour\n" + "\n".join(rows) + "\n")
    (folder / "test.jsonl").write_text("\n".join(json.dumps({"name": f"plum {i}", "colour": "red"}) for i in range(5)))
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "fruit.yaml").write_text(yaml.safe_dump(CARD))
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    monkeypatch.setenv("FRUIT", str(folder))
    yield folder


def loaded(tmp_path, dataset: str, model: str = "roberta_base"):
    resolver = Resolver()
    spec = part_of(resolver, "dataset", (f"dataset={dataset}",)).spec
    card = part_of(resolver, "model", (f"model={model}", "model.size=tiny")).spec
    model_ = load_model(card, spec.task, Seeds(0), tmp_path / "cache")
    return spec, build(spec, model_), model_.processor_key


def test_a_dataset_of_a_known_kind_is_one_yaml_and_no_code(fruit, tmp_path):
    spec, task, key = loaded(tmp_path, "fruit")
    data = load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [32, 8, 5]
    assert [task.collate([data.test[i]], None).targets.item() for i in range(5)] == [1] * 5
    ids = {data.train[i]["id"] for i in range(32)} | {data.validation[i]["id"] for i in range(8)}
    assert ids == {f"train:{i}" for i in range(40)}
    assert data.facts["splits"]["test"]["n"] == 5 and len(data.facts["source"]["sha256"]) == 64
    assert data.train.lengths == [len(data.train[i]["input_ids"]) for i in range(32)]


@pytest.mark.parametrize("path", ["$FRUIT", "${FRUIT}"])
def test_a_yaml_names_its_folder_by_a_variable_in_either_way(fruit, tmp_path, path):
    card = tmp_path / "conf" / "dataset" / "fruit.yaml"
    card.write_text(yaml.safe_dump(CARD | {"source": CARD["source"] | {"path": path}}))
    spec, _, _ = loaded(tmp_path, "fruit")
    assert spec.source.path == path and find_source(spec).read()[0]["test"].num_rows == 5


def test_changed_files_are_encoded_anew_and_unchanged_ones_are_not(fruit, tmp_path):
    spec, task, key = loaded(tmp_path, "fruit")
    first = load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "data").glob("*/*")}
    load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "data").glob("*/*")}
    with (fruit / "test.jsonl").open("a") as file:
        file.write('\n{"name": "lime", "colour": "green"}')
    again = load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")
    assert (len(first.test), len(again.test)) == (5, 6)
    assert first.facts["splits"]["train"] == again.facts["splits"]["train"]
    assert first.facts["splits"]["test"]["digest"] != again.facts["splits"]["test"]["digest"]


def test_a_bad_row_is_named_and_leaves_nothing_behind(fruit, tmp_path):
    with (fruit / "test.jsonl").open("a") as file:
        file.write('\n{"name": "banana", "colour": "yellow"}')
    spec, task, key = loaded(tmp_path, "fruit")
    with pytest.raises(DataError, match=r"dataset fruit: row test:5: unknown label 'yellow'. Known: green, red"):
        load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "data").iterdir())


def test_a_missing_file_is_one_sentence_with_what_is_there(fruit, tmp_path):
    (fruit / "test.jsonl").unlink()
    spec, task, key = loaded(tmp_path, "fruit")
    with pytest.raises(DataError, match=r"no file of split test; it holds train.csv"):
        load_data(spec, Encoder(task.encode, task.length, key), tmp_path / "cache")


@pytest.mark.slow
def test_two_processes_that_load_at_once_see_the_same_rows(tmp_path):
    code = (
        "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from harness.config.resolve import Resolver\n"
        "from tests.data.cards import encoded; from tests.parts import part_of\n"
        "spec, card = (part_of(Resolver(), axis, (f'{axis}={name}',)).spec\n"
        "              for axis, name in (('dataset', 'kinship'), ('model', 'roberta_base')))\n"
        "data, _ = encoded(spec, card, Path(sys.argv[2]) / 'cache')\n"
        "print(len(data.train), data.facts['splits']['train']['digest'], data.train[7]['input_ids'].tolist())"
    )
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""
    assert len(list((tmp_path / "cache" / "kinship" / "data").iterdir())) == 1


def test_opening_ten_thousand_rows_reads_the_asked_chunk_alone(tmp_path):
    rows = (
        {"id": f"train:{i}", "target": i % 3, "input_ids": list(range(i % 50)), "length": i % 50} for i in range(10_000)
    )
    write_rows(tmp_path / "rows.arrow", rows)
    found = Rows(tmp_path / "rows.arrow")
    lengths = found.column("length")
    last = found[9_999]
    assert len(found._columns) == 1
    assert len(found) == len(lengths) == 10_000 and last["id"] == "train:9999"


def test_rows_come_back_as_they_were_written_across_chunks(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(i), "target": float(i), "ids": rng.integers(0, 99, i % 7).tolist(), "pixels": rng.bytes(i % 5)}
        for i in range(2500)
    ]
    write_rows(tmp_path / "rows.arrow", iter(rows))
    found = Rows(tmp_path / "rows.arrow")
    for i in (0, 1, 1023, 1024, 2047, 2048, 2499, -1):
        back = found[i]
        assert (back["id"], back["target"]) == (rows[i]["id"], rows[i]["target"])
        assert back["ids"].tolist() == rows[i]["ids"] and back["pixels"].tobytes() == rows[i]["pixels"]
    with pytest.raises(IndexError):
        found[2500]
