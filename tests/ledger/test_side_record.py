"""What is measured after a run lies beside it: whole, typed, checked, and without touching the run."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.ledger.errors import RecordError
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.side_record import SideRecord, path_of, read_all, write
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store

RUN = "43f095a70a568b32"
RANKS = SideRecord("effective_rank", 1, RUN, {"energy": 0.9, "layers": ["q", "v"]}, {"q": 3.5}, {"host": "h"})


@pytest.fixture
def store(tmp_path):
    shutil.copytree(Path(__file__).parents[1] / "store_v1" / "runs", tmp_path / "runs")
    return Store(tmp_path / "runs")


def plain(side):
    return json.loads(json.dumps(vars(side)))


def lists(side):
    """A read side record holds tuples where its JSON has lists."""
    return replace(side, question={key: list(v) if isinstance(v, tuple) else v for key, v in side.question.items()})


def test_it_is_read_back_as_it_was_written(store):
    folder = store.paths(RUN)
    path = write(folder, RANKS)
    assert path == store.root / RUN / "effective_rank" / f"{RANKS.digest}.json"
    other = replace(RANKS, question={"energy": 0.5, "layers": []})
    write(folder, other)
    sides = read_all(folder, "effective_rank", 1)
    assert sorted(map(plain, map(lists, sides)), key=str) == sorted(map(plain, (RANKS, other)), key=str)
    assert [side.digest for side in sides] == sorted([RANKS.digest, other.digest]), "tuples and lists are one question"
    assert read_all(folder, "unasked", 1) == []


def test_the_same_question_is_the_same_file_and_another_version_is_not(store):
    folder = store.paths(RUN)
    write(folder, RANKS)
    write(folder, replace(RANKS, question={"layers": ["q", "v"], "energy": 0.9}, answer={"q": 4.0}))
    assert [side.answer for side in read_all(folder, "effective_rank", 1)] == [{"q": 4.0}]
    assert path_of(folder, replace(RANKS, version=2)) != path_of(folder, RANKS)


def test_the_run_stays_as_it_is_and_is_not_done_again(store, capsys):
    files = ("record.json", "spec.json", "events.jsonl", "predictions.parquet")
    before = [(store.root / RUN / name).read_bytes() for name in files]
    write(store.paths(RUN), RANKS)
    assert [(store.root / RUN / name).read_bytes() for name in files] == before
    assert run_id(parse(RunSpec, store.read(RUN).spec, "run")) == RUN
    words = ["method=cla", "model=vit_micro", "dataset=digits", "recipe=quick_image", "seed=0", f"runs={store.root}"]
    assert main(["run", *words, "--json"]) == 0, "answered from its record"
    assert json.loads(capsys.readouterr().out)["id"] == RUN
    assert main(["status", "quickstart", "--runs", str(store.root), "--json"]) == 0


@pytest.mark.parametrize(
    "kind",
    [
        "",
        ".",
        "..",
        "../other",
        "a/b",
        "/etc",
        "a\0b",
        "A",
        "é",
        "checkpoint",
        "adapter",
        "wandb",
        "x" * 65,
        "a\n",
        "a b",
    ],
)
def test_no_kind_leaves_its_folder(store, kind):
    before = sorted(store.root.rglob("*"))
    for attempt in (
        lambda: write(store.paths(RUN), replace(RANKS, kind=kind)),
        lambda: read_all(store.paths(RUN), kind, 1),
    ):
        with pytest.raises(RecordError, match="cannot be a kind"):
            attempt()
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"kind": "effective_rank"}', b"[" * 100_000,
        json.dumps(vars(RANKS) | {"extra": 1}).encode(),
        json.dumps(vars(RANKS) | {"run_id": "f" * 16}).encode(),
        json.dumps(vars(RANKS) | {"kind": "other"}).encode(),
        json.dumps(vars(RANKS) | {"version": 2}).encode(),
        json.dumps(vars(RANKS) | {"version": "1"}).encode(),
        json.dumps(vars(RANKS) | {"answer": [1]}).encode(),
        json.dumps(vars(RANKS)).encode(),  # whole, and under a name that is not its question's
        json.dumps(vars(RANKS) | {"question": {"x": float("nan")}}).encode(),
    ],
)  # fmt: skip
def test_garbage_is_named_and_left_out(store, garbage, caplog):
    folder = store.paths(RUN)
    bad = write(folder, RANKS).with_name("0123456789abcdef.json")
    bad.write_bytes(garbage)
    (bad.parent / "folder.json").mkdir()
    (bad.parent / ".half.json.part").write_bytes(b"{")
    with caplog.at_level(logging.WARNING):
        assert list(map(lists, read_all(folder, "effective_rank", 1))) == [RANKS]
    assert [bad.name in entry.getMessage() for entry in caplog.records] == [True, False]


def test_what_is_no_json_is_not_written_and_leaves_no_file(store):
    with pytest.raises(ValueError):
        write(store.paths(RUN), replace(RANKS, answer={"q": float("nan")}))
    assert read_all(store.paths(RUN), "effective_rank", 1) == []
    assert not list(store.root.rglob("*.part"))


def test_only_a_run_that_has_ended_is_asked(store):
    with pytest.raises(RecordError, match="has no record"):
        write(store.paths("f" * 16), replace(RANKS, run_id="f" * 16))
    with pytest.raises(RecordError, match="this is the folder of run"):
        write(store.paths(RUN), replace(RANKS, run_id="f" * 16))
