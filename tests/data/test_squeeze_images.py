"""The ten vision-language tasks of LoRA-Squeeze: rows as the hub has them are read, split, encoded and learnt from."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from harness.cli.show import as_text, described
from harness.config.resolve import Resolver
from harness.data.load import Encoder, load_data
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build
from tests.parts import part_of

RESOLVER = Resolver()
TEN = ["yes", "Yes.", "yes", "no", "yes", "yes", "no", "yes", "yes", "yes"]


def image(i: int) -> dict:
    """A picture of its own for every i, as the hub stores one."""
    out = io.BytesIO()
    Image.new("RGB", (24 + i % 3, 16), (i * 7 % 256, i * 31 % 256, i * 3 % 256)).save(out, format="PNG")
    return {"bytes": out.getvalue(), "path": None}


# card: the hub's columns (row i), its splits as (name, rows), rows after `unnest` and `require`, what row 0 shows
HUB = {
    "ai2d": (
        lambda i: {
            "question": f"What is part {i}?", "options": ["leaf", "root", "stem", "seed"], "answer": str(i % 4),
            "image": image(i),
        },
        {"test": 40}, {"test": 40}, ["→  leaf", "   root"],
    ),
    "aokvqa": (
        lambda i: {
            "image": image(i), "question_id": f"q{i}", "question": f"What is {i} for?",
            "choices": ["running", "sitting", "flying", "eating"], "correct_choice_idx": i % 4,
            "direct_answers": "['sit']", "difficult_direct_answer": False, "rationales": ["one sits on it"],
        },
        {"train": 40, "validation": 8}, {"train": 40, "validation": 8}, ["→  running"],
    ),
    "countbenchqa": (
        lambda i: {
            "image": image(i), "text": "many cups", "question": f"How many cups are in {i}?", "number": 2 + i % 9,
        },
        {"test": 63}, {"test": 63}, ["→  2", "   10"],
    ),
    "docvqa": (
        lambda i: {
            "questionId": str(i), "question": f"What is the date of {i}?", "question_types": ["layout"],
            "image": image(i // 2), "docId": i // 2, "answers": ["May 1", "1 May"], "data_split": "val",
        },
        {"validation": 40}, {"validation": 40}, ["→  May 1", "references: May 1 | 1 May"],
    ),
    "infovqa": (
        lambda i: {
            "questionId": str(i), "question": f"What share is {i}?", "answers": ["12%"], "answer_type": ["single span"],
            "image": image(i // 2), "image_url": f"u{i // 2}", "ocr": "", "data_split": "val",
        },
        {"validation": 40}, {"validation": 40}, ["→  12%"],
    ),
    "ocrvqa": (
        lambda i: {
            "image": image(i), "image_id": str(i), "questions": [f"Who wrote {i}?", "Is this a novel?"],
            "answers": ["Ann Bee", "No"], "title": "T", "genre": "G", "set_name": "train",
        },
        {"train": 8, "validation": 4, "test": 4}, {"train": 16, "validation": 8, "test": 8}, ["→  Ann Bee"],
    ),
    "okvqa": (
        lambda i: {"question_id": str(i), "image": image(i), "question": f"Is {i} alive?", "answers": TEN},
        {"val2014": 40}, {"val2014": 40}, ["→  yes"],
    ),
    "scienceqa": (
        lambda i: {
            "image": image(i) if i % 2 == 0 else None, "question": f"Which is {i}?", "hint": "",
            "choices": [f"option {n}" for n in range(2 + i % 4)], "answer": i % 2, "task": "closed choice",
        },
        {"train": 16, "validation": 8, "test": 8}, {"train": 8, "validation": 4, "test": 4}, ["→  option 0"],
    ),
    "tallyqa": (
        lambda i: {
            "image": image(i),
            "qa": [{"question": f"How many {word}?", "answer": str((i + n) % 16), "is_simple": True}
                   for n, word in enumerate(("dogs", "cats"))],
        },
        {"test": 40}, {"test": 80}, ["→  0"],
    ),
    "textvqa": (
        lambda i: {
            "image_id": f"i{i // 2}", "question_id": i, "question": f"What does {i} say?", "image": image(i // 2),
            "answers": TEN, "set_name": "train",
        },
        {"train": 40, "validation": 8}, {"train": 40, "validation": 8}, ["→  yes"],
    ),
}  # fmt: skip


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def write(mirror, name: str):
    spec, (row, splits, *_) = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec, HUB[name]
    folder = mirror / spec.source.id / (spec.source.config or "")
    folder.mkdir(parents=True)
    start = 0
    for split, count in splits.items():  # no row is in two splits
        rows = [row(i) for i in range(start, start + count)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
        start += 16 * 9 * count
    return spec


@pytest.mark.parametrize("name", HUB)
def test_rows_as_on_the_hub_are_read_split_encoded_and_learnt_from(mirror, tmp_path, name):
    spec, (_, _, rows, _) = write(mirror, name), HUB[name]
    card = part_of(RESOLVER, "model", ("model=gemma3_4b_vl", "model.size=tiny")).spec
    loaded = load_model(card, spec.task, Seeds(0), tmp_path)
    task = build(spec, loaded)
    data = load_data(spec, Encoder(task.encode, task.length, loaded.processor_key), tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == sum(rows.values())
    assert len(data.validation) > 0 and "test in train" not in data.facts.get("shared_rows", {})
    batch = task.collate([data.train[i] for i in range(4)], None)
    optimizer = torch.optim.SGD(loaded.model.parameters(), lr=1e-3)
    before = (task.losses(loaded.model.eval(), batch) / batch.weight).sum()
    before.backward()
    optimizer.step()
    with torch.no_grad():
        assert float((task.losses(loaded.model, batch) / batch.weight).sum()) < float(before.detach())
        predictions = task.predict(loaded.model, task.collate([data.test[i] for i in range(2)], None))
    assert set(task.score(predictions)) == {"loss", *spec.metrics}


@pytest.mark.parametrize("name", HUB)
def test_show_prints_the_question_and_the_answer_of_a_row(mirror, name):
    spec, (_, _, rows, shown) = write(mirror, name), HUB[name]
    text = as_text(described(spec))
    for split in (spec.split.validation, spec.split.test):
        if split:
            assert f"{rows[split]} (from {split})" in text
    assert all(" × 16 pixels" in part for part in text.split("── ")[1:])
    first = [part for part in text.split("── ") if part.splitlines()[0].endswith(":0")]
    for line in shown if first else ():  # row 0 is shown where it is not held out
        assert line in first[0].splitlines()


def test_questions_of_one_document_or_image_stay_on_one_side(mirror, tmp_path):
    from harness.data.source import find_source
    from harness.data.splits import divide

    for name, of in (("docvqa", "docId"), ("infovqa", "image_url"), ("tallyqa", "row"), ("textvqa", "image_id")):
        spec = write(mirror, name)
        tables, _ = find_source(spec).read()
        sides = [
            {(part.source, tables[part.source][of][row].as_py()) for row in part.rows}
            for part in divide(spec, tables).values()
        ]
        assert sum(map(len, sides)) == len(set.union(*sides)), name


def test_every_vision_language_task_of_the_paper_has_a_card():
    specs = {name: part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec for name in HUB}
    assert len(specs) == 10 and {spec.task.kind for spec in specs.values()} == {"vision_language"}
    metrics = {name: spec.metric for name, spec in specs.items()}
    assert metrics == dict.fromkeys(HUB, "accuracy") | {
        "docvqa": "anls", "infovqa": "anls", "okvqa": "vqa_accuracy", "textvqa": "vqa_accuracy",
    }  # fmt: skip
    assert {spec.task.max_length for spec in specs.values()} == {1024}
