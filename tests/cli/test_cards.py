"""`peftlab list` and `peftlab show method=…`: what there is, in 80 columns, and what it says."""

import json
import os
import shutil

import pytest
from rich.console import Console

from harness.__main__ import main
from harness.cli.cards import described, print_rows
from harness.cli.commands_of_cards import KINDS
from harness.config.groups import choices


@pytest.fixture
def listed(capsys):
    def listed(kind):
        assert main(["list", kind, "--json"]) == 0
        return {row["name"]: row for row in json.loads(capsys.readouterr().out)}

    return listed


@pytest.mark.parametrize("kind", KINDS)
def test_every_config_is_listed_with_its_label_and_none_is_wrong(kind, listed):
    rows = listed(kind)
    assert set(rows) == set(choices(kind.removesuffix("s"))) - {"none"}
    assert all(row["label"] and "wrong" not in row for row in rows.values())


def test_a_list_says_source_licence_size_and_what_is_at_hand(listed, tmp_path, monkeypatch):
    monkeypatch.delenv("PEFTLAB_MIRROR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    models, datasets = listed("models"), listed("datasets")
    assert models["roberta_base"]["at_hand"] == datasets["paws"]["at_hand"] == "not at hand"
    assert models["roberta_base"]["licence"] == "MIT" and models["roberta_base"]["size"] == "125M"
    assert datasets["digits"]["at_hand"] == models["vit_micro"]["at_hand"] == "built in"
    assert datasets["paws"]["size"] == "49,401 rows" and datasets["paws"]["source"].startswith("https://")
    assert listed("methods")["cla"]["formula"].startswith("W[:, 0")


def test_a_sweep_is_listed_with_as_many_runs_as_its_plan_has(listed):
    assert listed("sweeps")["quickstart"]["size"] == "36 runs"


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_read_whole_in_any_width(width, kind, tmp_path):
    rows = [described(kind, name) for name in choices(kind.removesuffix("s")) if name != "none"]
    with (tmp_path / "screen").open("w+") as file:
        print_rows(rows, Console(file=file, width=width, highlight=False))
        file.seek(0)
        lines = file.read().splitlines()
    assert all(len(line) <= width and "…" not in line.replace("0…r", "") for line in lines)
    said = "".join("".join(lines).split())
    assert all("".join(str(row["label"]).split()) in said for row in rows)


def test_a_broken_config_of_ones_own_is_a_line_and_hides_no_other(tmp_path, monkeypatch, listed):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("name: [mine\n")
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    rows = listed("methods")
    assert "line 2: not yaml" in rows["mine"]["wrong"] and rows["cla"]["label"] == "cLA"


def test_a_folder_of_ones_own_is_at_hand_when_its_files_are(tmp_path, monkeypatch, listed):
    from tests.fruit import write_fruit

    monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path)))
    assert listed("datasets")["fruit"]["at_hand"] == "at hand"
    shutil.rmtree(tmp_path / "fruit")
    assert listed("datasets")["fruit"]["at_hand"] == "not at hand"


def test_without_a_kind_there_is_a_number_of_each(capsys):
    assert main(["list", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["methods"] == len(choices("method")) and counts["sweeps"] == len(choices("sweep")) - 1
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(f"peftlab list {kind}" in said for kind in counts)


def test_settings_are_shown_as_they_would_be_typed(capsys):
    assert main(["show", "method=cla", "method.update.rank=8"]) == 0
    said = capsys.readouterr().out
    assert "Beyond LoRA, arXiv:2606.13767, cLA" in said
    typed = [line for line in said.splitlines() if line.startswith("method.") and "kind" not in line]
    assert "method.update.rank=8" in typed and "method.targets=[q,v]" in typed
    assert main(["plan", "--no-estimate", "--json", "method=cla", *typed, f"runs={os.devnull}/none"]) == 0


@pytest.mark.parametrize(
    ("word", "key"), [("model=minilm", "model.config.hidden_size"), ("recipe=tiny", "recipe.epochs")]
)
def test_models_and_recipes_are_shown_too(word, key, capsys):
    assert main(["show", word, "--json"]) == 0
    (view,) = json.loads(capsys.readouterr().out)
    assert key in view["settings"] and view["about"]["label"]
