"""Local data that changed after a run was recorded: the run is planned anew, under an id of its own, and it is said."""

import json
import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet

import harness.data.source as source_module
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.data.source import find_source
from harness.ledger.errors import NotHere
from harness.ledger.identity import run_id
from harness.ledger.lookup import plans
from harness.ledger.parse import parse
from harness.ledger.record import Failure, failure_record
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.content import with_content
from harness.planning.plan import plan_sweep, read_request
from methods.spec import LowRank
from tests.data.cards import card, encoded

CARD = """
name: fruit
source: {kind: folder, path: FOLDER, files: {}}
split: {train: train, validation: null, test: null, share: 0.2, test_share: 0.2, stratify: [], group: null, key: null}
task: {kind: text_classification, text: [text], shorten: longest, prompt: null, label: label, labels: [bad, good],
  aliases: {}, max_length: 32}
metric: accuracy
metrics: [accuracy]
direction: max
chance: 0.5
about: {label: Fruit, licence: none, source: here}
"""
ROWS = [f"apple number {i} is {'good' if i % 2 else 'bad'},{'good' if i % 2 else 'bad'}" for i in range(40)]


def write_rows(path, rows):
    path.write_text("\n".join(["text,label", *rows]) + "\n")


@pytest.fixture
def train(tmp_path, monkeypatch):
    """The training file of a dataset `fruit`, which a card of one's own names."""
    conf = tmp_path / "conf" / "dataset"
    conf.mkdir(parents=True)
    (conf / "fruit.yaml").write_text(CARD.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    write_rows(tmp_path / "train.csv", ROWS)
    yield tmp_path / "train.csv"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def plan(store, tmp_path):
    def runs(*words):
        return with_content(plan_sweep(read_request(words), Resolver()).runs, store, tmp_path / "cache")

    return runs


def finish(store, run):
    """A record of the run that says of the data what a real one does."""
    facts = find_source(parse(RunSpec, run.spec, "run").dataset).read()[1]
    store.paths(run.id).folder.mkdir(parents=True)
    blank = failure_record(run.id, run.spec, Failure("data", "setup", 0, ""), "no clock")
    store.write(replace(blank, status="done", failure=None, data={"source": facts}))


FRUIT = ("model=minilm", "dataset=fruit")


def test_the_same_data_have_the_same_ids_and_nothing_is_said(train, plan, store):
    first, _ = plan("method=lora,cla", *FRUIT)
    for run in first:
        finish(store, run)
    again, said = plan("method=lora,cla", *FRUIT)
    assert again == first and said == ()


def test_changed_data_are_new_runs_and_the_first_answers_again_when_its_data_are_back(train, plan, store):
    first, _ = plan("method=lora", "seed=0,1", *FRUIT)
    for run in first:
        finish(store, run)
    write_rows(train, ROWS[1:])
    second, said = plan("method=lora", "seed=0,1", *FRUIT)
    assert said == (
        f"dataset fruit changed since run {first[0].id} was made: 2 runs of it are new ones; the old records stay.",
    )
    assert not {run.id for run in second} & {run.id for run in first}
    for run in second:
        assert run_id(parse(RunSpec, run.spec, "run")) == run.id
        finish(store, run)
    assert plan("method=lora", "seed=0,1", *FRUIT)[0] == second, "the new runs answer now"
    write_rows(train, ROWS)
    assert plan("method=lora", "seed=0,1", *FRUIT) == (first, ())
    assert all(store.status(run.id) == "done" for run in (*first, *second))


def test_a_run_without_a_record_keeps_its_id_whatever_the_data_are(train, plan, store):
    ((first,), _) = plan("method=lora", *FRUIT)
    finish(store, first)
    write_rows(train, ROWS[1:])
    lora, cla = plan("method=lora,cla", *FRUIT)[0]
    assert lora.spec["dataset"]["content"] and "content" not in cla.spec["dataset"]


def test_data_that_are_not_here_are_no_change(train, plan, store):
    first, _ = plan("method=lora", *FRUIT)
    finish(store, first[0])
    train.unlink()
    assert plan("method=lora", *FRUIT) == (first, ())


def test_a_run_that_starts_from_a_run_of_changed_data_starts_from_the_new_one(train, plan, store, monkeypatch):
    monkeypatch.setattr(LowRank, "starts_from_run", True, raising=False)
    words = ("method=lora", "source.method=lora", "source.method.update.rank=32", *FRUIT)
    source, target = plan(*words)[0]
    finish(store, source)
    write_rows(train, ROWS[1:])
    new_source, new_target = plan(*words)[0]
    assert new_target.source == new_source.id != source.id and new_target.id != target.id
    assert run_id(parse(RunSpec, new_target.spec, "run")) == new_target.id


def test_the_files_are_read_once_for_all_runs_and_not_again_until_they_change(train, plan, store, monkeypatch):
    words = ("method=lora,cla", "seed=range(20)", *FRUIT)
    for run in plan(*words)[0]:
        finish(store, run)
    digests = []
    real = source_module._file_digest
    monkeypatch.setattr(source_module, "_file_digest", lambda paths: digests.append(1) or real(paths))
    plan(*words)
    plan(*words)
    assert len(digests) == 1
    write_rows(train, ROWS[1:])
    assert len(plan(*words)[1]) == 1 and len(digests) == 2


def test_a_mirror_of_a_part_does_not_stand_in_the_way_of_the_whole(tmp_path, plan, store, monkeypatch):
    folder = tmp_path / "mirror" / "nyu-mll" / "glue" / "rte"
    folder.mkdir(parents=True)

    def fill(rows):
        for split in ("train", "validation"):
            table = {
                "sentence1": ["a"] * rows,
                "sentence2": ["b"] * rows,
                "label": [1] * rows,
                "idx": list(range(rows)),
            }
            parquet.write_table(pa.table(table), folder / f"{split}-00000-of-00001.parquet")

    fill(4)
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path / "mirror"))
    words = ("method=lora", "model=minilm", "dataset=rte")
    first, _ = plan(*words)
    finish(store, first[0])
    fill(9)
    second, said = plan(*words)
    assert second[0].id != first[0].id and said[0].startswith("dataset rte changed since run")
    monkeypatch.delenv("PEFTLAB_MIRROR")
    assert plan(*words) == (first, ()), "without the files there is nothing to compare"


def test_a_run_planned_for_one_content_refuses_another_and_shares_what_was_encoded(tmp_path, plan):
    write_rows(tmp_path / "train.csv", ROWS)
    spec = card(tmp_path)
    model = parse(RunSpec, plan("method=lora", "model=minilm", "dataset=kinship")[0][0].spec, "run").model
    facts = encoded(spec, model, tmp_path / "cache")[0].facts
    of_content = replace(spec, content=facts["source"]["sha256"][:16])
    assert encoded(of_content, model, tmp_path / "cache")[0].facts == facts
    assert len(list((tmp_path / "cache").glob("*/data/case-*"))) == 1
    with pytest.raises(NotHere, match="dataset case changed after this run was planned"):
        encoded(replace(spec, content="0" * 16), model, tmp_path / "cache")


@pytest.mark.slow
def test_run_answers_for_the_data_as_they_are_and_keeps_both_records(train, store, tmp_path, peftlab_cache, capfd):
    words = [
        "run",
        "method=cla",
        *FRUIT,
        "size=tiny",
        "recipe=tiny",
        "recipe.max_steps=2",
        "tracker=none",
        "device=cpu",
    ]
    words += [f"runs={store.root}", f"cache={peftlab_cache}", "--json"]

    def answer():
        assert main(words) == 0
        said = capfd.readouterr()
        return json.loads(said.out), said.err

    first, said = answer()
    assert "changed" not in said
    write_rows(train, ROWS[1:])
    second, said = answer()
    assert f"peftlab: dataset fruit changed since run {first['id']} was made: 1 run of it is a new one" in said
    assert second["id"] != first["id"]
    assert second["data"]["source"]["sha256"].startswith(second["spec"]["dataset"]["content"])
    assert second["data"]["source"] != first["data"]["source"]
    write_rows(train, ROWS)
    assert answer() == (first, "")
    code = f"import sys; from harness.__main__ import main; main({words!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert {record.id for record in store.records()} == {first["id"], second["id"]}
    write_rows(train, ROWS[1:])
    assert main(["sweep", *words[1:-1], f"report={tmp_path / 'report'}"]) == 0
    assert "nothing to run" in capfd.readouterr().err
    assert [plan.ids for plan in plans(store.root)] == [(second["id"],)]
