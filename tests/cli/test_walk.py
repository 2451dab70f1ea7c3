"""The walk of the README from a CSV to a verdict: its five commands, as they stand there, and no editor."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from harness.__main__ import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCK = re.search(r"## Your own data.*?```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True)[1:] for line in BLOCK[1].splitlines()] if BLOCK else []
SMALL = {
    "new sweep": ["method=head,lora", "model.size=tiny", "recipe=tiny", "seed=0"],
    "sweep fruit_trial": ["device=cpu"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with a CSV of fruit."""
    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    monkeypatch.chdir(tmp_path)
    kinds = ("lemon", "cherry", "apple")
    with (tmp_path / "fruit.csv").open("w", newline="") as file:
        rows = [(f"a {kinds[row % 3]}, ripe, number {row}", kinds[row % 3]) for row in range(60)]
        csv.writer(file).writerows([("description", "kind"), *rows])
    return tmp_path


def test_the_walk_has_five_commands():
    assert [words[0] for words in COMMANDS] == ["new", "show", "new", "sweep", "report"]


def test_the_two_files_of_the_walk_are_written_and_the_sweep_can_be_planned(folder, capsys):
    for words in COMMANDS:
        if words[0] == "new":
            assert main(words) == 0
    capsys.readouterr()
    assert main(["plan", "--no-estimate", "fruit_trial"]) == 0
    assert "12 runs" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_the_walk_ends_with_a_verdict(folder, peftlab_cache, capfd):
    for words in COMMANDS:
        own = SMALL.get(" ".join(words[:2]), [])
        cache = [f"cache={peftlab_cache}", "tracker=none", "cluster.processes=1"] if words[0] == "sweep" else []
        assert main([*words, *own, *cache]) == 0
    said = capfd.readouterr().out
    assert (
        "fruit: text_classification" in said
        and "MiniLM" in said
        and (folder / "report/fruit_trial/index.html").is_file()
    )
