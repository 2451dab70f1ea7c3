"""`peftlab check FILE.yaml`: ok, or the one sentence that the verbs would say later."""

import json
import shlex
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.planning.plan import plan_sweep, read_request
from tests.fruit import write_fruit

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    "name",
    [
        "method/lora",
        "model/minilm",
        "recipe/quick_text",
        "cluster/slurm",
        "cluster/local",
        "tracker/wandb",
    ],
)
def test_what_the_project_holds_is_right(name, capsys):
    assert main(["check", f"{CONF / name}.yaml"]) == 0
    assert capsys.readouterr().out.startswith(f"ok: {name.replace('/', ' ')}: ")


def test_a_sweep_is_planned_and_a_recipe_has_each_of_its_rates(capsys):
    main(["check", f"{CONF}/sweep/quickstart.yaml", "--json"])
    assert "36 runs" in json.loads(capsys.readouterr().out)["said"]
    main(["check", f"{CONF}/recipe/quick_text.yaml"])
    assert "0.0001 full, 0.005 head, 0.002 adapter" in capsys.readouterr().out


def test_a_dataset_is_read_and_its_data_may_be_elsewhere(tmp_path, capsys):
    card = write_fruit(tmp_path) / "dataset" / "fruit.yaml"
    assert main(["check", str(card)]) == 0
    assert "rows: train 48, validation 16, test 16" in capsys.readouterr().out
    card.write_text(card.read_text().replace(str(tmp_path), "/nowhere"))
    assert main(["check", str(card)]) == 0
    assert "not at hand" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("label: kind", "label: sort", "there is no column 'sort'"),
        ("[lemon, apple]", "[lemon, plum]", "unknown label 'apple'"),
        ("{text}", "{words}", "there is no column 'words'"),
        ("metric: accuracy", "metric: acuracy", "unknown metric 'acuracy'"),
        ("chance: 0.5", "chance: 0.5\nbanana: 1", "dataset.banana: unknown key"),
        ("name: fruit", "name: fruits", "write name: fruit"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, old, new, sentence):
    card = write_fruit(tmp_path) / "dataset" / "fruit.yaml"
    card.write_text(card.read_text().replace(old, new))
    assert main(["check", str(card)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_checking_leaves_no_other_folder_of_configs_behind(tmp_path, monkeypatch):
    import os

    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    assert main(["check", str(write_fruit(tmp_path) / "dataset" / "fruit.yaml")]) == 0
    assert "PEFTLAB_CONF" not in os.environ


def test_a_card_is_found_by_its_name_and_one_that_is_absent_brings_the_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path)))
    assert main(["check", "dataset=fruit"]) == 0
    assert capsys.readouterr().out.startswith("ok: dataset fruit: text_classification, rows: train 48")
    assert main(["check", "method=lora"]) == 0
    assert main(["check", "dataset=fruits"]) == 2
    assert "there is no dataset of that name. Did you mean 'fruit'?" in capsys.readouterr().err


def test_from_a_csv_without_an_editor_to_the_sweep_that_would_decide(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    rows = [f"a {('red', 'long', 'small')[n % 3]} thing {n},{('apple', 'banana', 'grape')[n % 3]}" for n in range(90)]
    Path("fruit.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    assert main(["new", "dataset", "fruit", "--from", "fruit.csv"]) == 0
    assert main(["check", "dataset=fruit"]) == 0
    capsys.readouterr()
    assert main(["advise", "model=minilm", "dataset=fruit", "--runs", "runs"]) == 0
    (_, said) = capsys.readouterr().out.split("peftlab sweep ")
    plan = plan_sweep(read_request(shlex.split(said.partition(" (")[0])), Resolver())
    assert len(plan.runs) == 12 and not plan.skipped
