"""`peftlab new`: a config of one's own that works at once, written whole or not at all."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from PIL import Image

from harness.__main__ import main
from harness.config.cards import card
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.data.classes import with_class_names
from harness.data.source import find_source
from harness.data.splits import divide

FRUIT = ("lemon", "cherry", "apple")


ASKED = {  # kind -> words, and keys that the new config then has
    "method": (["method.update.rank=64", "method.targets=[q,k]"], {"update.rank": 64, "targets": ["q", "k"]}),
    "model": (["--from", "vit_micro", "model.size=tiny"], {"size": "tiny", "family": "vit"}),
    "recipe": (["--from", "quick_text", "recipe.epochs=2"], {"epochs": 2, "max_steps": 40}),
    "cluster": (["cluster.partition=gpu", "cluster.cpus=4"], {"partition": "gpu", "cpus": 4, "max_pack": 50}),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with no configs of one's own."""
    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, header, rows, delimiter=",", encoding="utf-8") -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def fruit(count=60):
    return [(row, f'a "{FRUIT[row % 3]}", round and ripe, {row}', FRUIT[row % 3]) for row in range(count)]


def new(*words: str) -> None:
    assert main(["new", "dataset", *words]) == 0


def spec_of(name: str):
    return Resolver().part("dataset", [assign("dataset", name)]).spec


def test_a_card_from_a_csv_has_labels_chance_and_lengths_and_says_what_it_guessed(here, capsys):
    write(here / "fruit.csv", ("id", "description", "kind"), fruit())
    new("fruit", "--from", "fruit.csv")
    said = capsys.readouterr().out
    card = here / "peftlab_conf" / "dataset" / "fruit.yaml"
    assert str(card) in said and "peftlab show dataset=fruit" in said
    spec = spec_of("fruit")
    assert spec.task.kind == "text_classification" and spec.task.text == ("description",)
    assert spec.task.label == "kind" and spec.task.labels == ("apple", "cherry", "lemon")
    assert spec.split.stratify == ("kind",) and spec.about["rows"] == {"train": 60}
    lines = [line for line in card.read_text().splitlines() if "guessed" in line]
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["kind", "text", "label", "max_length"]


def test_the_chance_of_a_card_is_the_share_of_the_largest_class_of_the_test_rows(here):
    rows = [(f"text {row}", "often" if row % 4 else "rarely") for row in range(80)]
    write(here / "skewed.csv", ("text", "label"), rows)
    new("skewed", "--from", "skewed.csv")
    spec = spec_of("skewed")
    tables, _ = find_source(spec).read()
    parts = divide(spec, tables)
    labels = with_class_names(spec, tables, parts)["train"].column("label").to_pylist()
    counts = Counter(labels[row] for row in parts["test"].rows)
    assert spec.chance == pytest.approx(max(counts.values()) / counts.total(), abs=5e-4) and spec.chance > 0.7


def test_a_folder_with_splits_keeps_them(here):
    for split, count in (("train", 30), ("dev", 12), ("test", 15)):
        write(here / "data" / f"{split}.csv", ("id", "description", "kind"), fruit(count))
    new("fruit", "--from", "data")
    split = spec_of("fruit").split
    assert (split.train, split.validation, split.test, split.share, split.test_share) == ("train", "dev", "test", 0, 0)


def test_pairs_numbers_and_a_column_that_is_named_are_understood(here):
    rows = [(f"one {row}", f"two {row}", row / 7, "ab"[row % 2]) for row in range(40)]
    write(here / "pairs.csv", ("sentence1", "sentence2", "score", "fold"), rows)
    new("pairs", "--from", "pairs.csv")
    spec = spec_of("pairs")
    assert spec.task.kind == "regression" and spec.task.text == ("sentence1", "sentence2")
    assert spec.metric == "pearson" and spec.chance == 0 and "{sentence2}" in spec.task.prompt.after
    new("folds", "--from", "pairs.csv", "--label", "fold")
    assert spec_of("folds").task.labels == ("a", "b")


def test_semicolons_and_a_windows_encoding_are_found(here):
    rows = [(f"café, {row}", "yes" if row % 2 else "no") for row in range(20)]
    write(here / "excel.csv", ("text", "answer"), rows, ";", "cp1252")
    new("excel", "--from", "excel.csv")
    source = spec_of("excel").source
    assert (source.delimiter, source.encoding) == (";", "cp1252")
    assert spec_of("excel").task.labels == ("no", "yes")  # texts, which yaml would read as truth values


def test_images_by_their_paths_are_an_image_task(here):
    (here / "pictures").mkdir()
    for row in range(20):
        Image.new("L", (8, 8), 12 * row).save(here / "pictures" / f"{row}.png")
    write(
        here / "table.csv",
        ("file", "class"),
        [(f"pictures/{row}.png", "dark" if row < 10 else "light") for row in range(20)],
    )
    new("shades", "--from", "table.csv")
    assert spec_of("shades").task.image == "file"
    assert find_source(spec_of("shades")).read()[0]["train"].num_rows == 20


def test_json_lines_keep_numbers_truth_values_and_missing_texts(here):
    rows = [{"text": None if row == 3 else f"text {row}", "label": row % 2 == 0, "level": row % 3} for row in range(30)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    new("truth", "--from", "rows.jsonl")
    new("level", "--from", "rows.jsonl", "--label", "level")
    assert spec_of("truth").task.labels == ("false", "true") and spec_of("truth").missing_text == "empty"
    assert spec_of("level").task.labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        (
            ("a", "b"),
            [(f"x {row}", f"y {row}") for row in range(20)],
            "no column looks like a label: a, b; name it with",
        ),
        (
            ("text", "label"),
            [(f"x {row}", "" if row == 7 else "yn"[row % 2]) for row in range(20)],
            "row 7 has no 'label'",
        ),
        (("text", "label"), [(f"x {row}", "y") for row in range(20)], "holds 'y' in every row"),
        (("a{b}", "label"), [(f"x {row}", "yn"[row % 2]) for row in range(20)], "column 'a{b}'"),
        (("text", "label"), [(f"x {row}", "${y}" if row % 2 else "n") for row in range(20)], "'${'"),
        (("text", "label"), [("x", "y")] * 4, "has 4 rows"),
    ],
)
def test_what_cannot_be_guessed_is_a_sentence_and_nothing_is_written(here, capsys, header, rows, sentence):
    write(here / "data.csv", header, rows)
    assert main(["new", "dataset", "mine", "--from", "data.csv"]) == 2
    assert sentence in capsys.readouterr().err
    assert not (here / "peftlab_conf").exists()


def test_a_config_that_is_there_stays_and_a_name_of_the_projects_is_not_taken(here, capsys):
    write(here / "fruit.csv", ("id", "description", "kind"), fruit())
    new("fruit", "--from", "fruit.csv")
    card = here / "peftlab_conf" / "dataset" / "fruit.yaml"
    card.write_text(card.read_text() + "# mine\n")
    assert main(["new", "dataset", "fruit", "--from", "fruit.csv"]) == 2
    assert "stays as it is" in capsys.readouterr().err and card.read_text().endswith("# mine\n")
    assert main(["new", "dataset", "digits", "--from", "fruit.csv"]) == 2


def test_a_card_goes_where_peftlab_conf_says(here, monkeypatch):
    (here / "own").mkdir()
    monkeypatch.setenv("PEFTLAB_CONF", "own")
    write(here / "fruit.csv", ("id", "description", "kind"), fruit())
    new("fruit", "--from", "fruit.csv")
    assert (here / "own" / "dataset" / "fruit.yaml").is_file() and spec_of("fruit").name == "fruit"


@pytest.mark.parametrize("kind", ASKED)
def test_a_config_from_another_has_the_settings_that_were_typed(here, capsys, kind):
    words, wanted = ASKED[kind]
    assert main(["new", kind, "mine", *words]) == 0
    assert "next:    peftlab" in capsys.readouterr().out
    raw = card(kind, "mine")
    for key, value in wanted.items():
        place = raw
        for part in key.split("."):
            place = place[part]
        assert place == value
    assert raw["name"] == raw["about"]["label"] == "mine"
    assert main(["check", f"peftlab_conf/{kind}/mine.yaml"]) == 0


def test_what_stands_in_comments_is_what_the_config_has(here):
    assert main(["new", "method", "mine", "--from", "cola"]) == 0
    text = (here / "peftlab_conf" / "method" / "mine.yaml").read_text()
    said = yaml.safe_load("\n".join(line[2:] for line in text.split("# Settings of")[1].splitlines()[1:]))
    assert said == {key: value for key, value in card("method", "cola").items() if key not in ("name", "about")}


def test_a_sweep_is_what_was_typed_and_a_first_try_of_the_rest(here, capsys):
    words = ["new", "sweep", "trial", "dataset=digits", "method=cla,lora", "recipe.lr=1e-3,3e-3", "seed=0,1"]
    assert main(words) == 0
    raw = card("sweep", "trial")
    assert raw["grids"] == [
        {"method": ["cla", "lora"], "model": ["vit_micro"], "dataset": ["digits"], "recipe": ["quick_image"],
         "recipe.lr": [1e-3, 3e-3]}
    ]  # fmt: skip
    assert raw["seeds"] == [0, 1] and raw["control"] == "lora"
    capsys.readouterr()
    assert main(["plan", "--no-estimate", "--json", "sweep=trial"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 8


def test_a_sweep_from_another_is_that_one_under_a_new_name(here):
    assert main(["new", "sweep", "mine", "--from", "quickstart_methods"]) == 0
    assert card("sweep", "mine") == card("sweep", "quickstart_methods") | {"name": "mine"}


def test_a_cluster_says_what_each_key_is_for(here):
    assert main(["new", "cluster", "site"]) == 0
    text = (here / "peftlab_conf" / "cluster" / "site.yaml").read_text()
    assert "your MaxSubmitJobs" in text and "example_site" not in text and "my_project" not in text
    raw = card("cluster", "site")
    assert raw == card("cluster", "slurm") | {"name": "site", "about": raw["about"]}


@pytest.mark.parametrize("words", [["method", "x", "method.update.rank=0"], ["sweep", "x", "model.size=big"]])
def test_a_config_that_would_not_work_is_not_left(here, words, capsys):
    assert main(["new", *words]) == 2
    assert list(here.rglob("x.yaml")) == [] and words[-1].split("=")[0] in capsys.readouterr().err
