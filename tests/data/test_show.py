"""`peftlab show`, and the walk of CONTRIBUTING.md that adds a dataset: one yaml, and sentences where it is wrong."""

import json
import re
from pathlib import Path

import pytest

from harness.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fruit(tmp_path, monkeypatch):
    """The example of CONTRIBUTING.md in a folder of the user's own, with data; gives a way to change the yaml."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(name: fruit.*?)```", text, re.DOTALL)[1].replace("~/data/fruit", str(tmp_path))
    card = tmp_path / "conf" / "dataset" / "fruit.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(example)
    rows = [
        f'"{colour} and round, {i}",{kind}'
        for i in range(30)
        for colour, kind in (("yellow", "lemon"), ("red", "cherry"))
    ]
    (tmp_path / "train.csv").write_text("\n".join(["description,kind", *rows, '"long, yellow",lemon']) + "\n")
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    yield lambda old, new: card.write_text(example.replace(old, new))


def test_the_example_of_the_walk_is_shown_with_sizes_classes_and_what_each_kind_of_model_reads(fruit, capsys):
    assert main(["show", "dataset=fruit"]) == 0
    said = capsys.readouterr().out
    assert "rows: train 43 (from train), validation 6 (from train), test 12 (from train)" in said
    assert re.search(r"largest class: train lemon 5\d\.\d%", said)
    assert said.count("Which fruit?") == 3 and said.count("── train:") == 3 and said.count("→ ") == 6


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("label: kind", "label: sort", "dataset fruit: there is no column 'sort'; the data has description, kind."),
        (
            "stratify: [kind]",
            "stratify: [sort]",
            "dataset fruit: there is no column 'sort'; the data has description, kind.",
        ),
        ("[lemon, cherry]", "[lemon, plum]", "dataset fruit: row train:1: unknown label 'cherry'. Known: lemon, plum."),
        ("max_length: 64", "", "dataset.task: max_length must be given"),
        ("text_classification", "text_clasification", "Did you mean 'text_classification'?"),
        ("name: fruit", "name: {fruit", "fruit.yaml: line 2: not yaml"),
        ("train: train", "train: first", "has no file of split first; it holds "),
    ],
)
def test_a_mistake_in_the_card_is_one_sentence(fruit, capsys, old, new, sentence):
    fruit(old, new)
    assert main(["show", "dataset=fruit"]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and len(said.splitlines()) == 1


def test_an_example_that_cannot_be_shown_names_its_row(fruit, tmp_path, capsys):
    (tmp_path / "train.csv").unlink()
    rows = [{"description": None, "kind": ("lemon", "cherry")[row % 2]} for row in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["show", "dataset=fruit"]) == 2
    assert re.search(r"dataset fruit: row train:\d+: 'description' is null", capsys.readouterr().err)


def test_what_is_not_here_stops_no_other(monkeypatch, capsys):
    for name in ("PEFTLAB_MIRROR", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    assert main(["show", "dataset=paws,digits"]) == 2
    said = capsys.readouterr()
    assert "peftlab fetch dataset=paws" in said.err and "digits: image_classification" in said.out


def test_a_chance_level_that_a_constant_guess_does_not_score_is_told(fruit, capsys):
    assert main(["show", "dataset=fruit"]) == 0
    assert "chance:" not in capsys.readouterr().out
    fruit("chance: 0.5", "chance: 0.3")
    assert main(["show", "dataset=fruit"]) == 0
    assert "chance: the card says 0.3; the best constant guess on test has accuracy 0.500" in capsys.readouterr().out


def test_rows_in_two_splits_are_counted(fruit, tmp_path, capsys):
    rows = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([*rows, *rows[1:]]) + "\n")
    assert main(["show", "dataset=fruit"]) == 0
    assert re.search(r"in two splits: .*test in train \d+", capsys.readouterr().out)
