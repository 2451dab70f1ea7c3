"""What a shell is told at TAB: verbs, flags, groups, names and keys."""

import os
import shutil
import subprocess
import sys

import pytest

from harness.__main__ import main
from harness.cli.commands import VERBS
from harness.config.groups import choices

pytest.importorskip("argcomplete")


@pytest.fixture
def tab(tmp_path):
    """What completes a line: the program, asked as a shell asks it."""
    said = tmp_path / "said"

    def tab(line: str, **environment: str) -> set[str]:
        asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
        asked["_ARGCOMPLETE_STDOUT_FILENAME"] = str(said)
        command = [sys.executable, "-m", "harness"]
        subprocess.run(command, env=os.environ | asked | environment, check=True, capture_output=True)
        return {word.rstrip() for word in said.read_text().split("\n")}

    return tab


def test_verbs_and_their_flags(tab):
    assert tab("peftlab ") >= set(VERBS)
    assert tab("peftlab sw") == {"sweep"}
    assert "--no-estimate" in tab("peftlab plan --no")
    assert tab("peftlab list m") == {"methods", "models"}


def test_groups_names_and_keys(tab):
    assert {"method=", "model=", "recipe.", "seed="} <= tab("peftlab run ")
    assert tab("peftlab run method=") == {f"method={name}" for name in choices("method")}
    assert tab("peftlab sweep method=lora,cl") == {"method=lora,cla"}
    assert tab("peftlab run method=lora method.update.ra") == {"method.update.rank="}
    assert "sweep=quickstart" in tab("peftlab report ")


def test_bash_cuts_words_at_the_equals_sign_and_gets_what_follows_it(tab):
    assert tab("peftlab run model=mini", _ARGCOMPLETE_COMP_WORDBREAKS=" \t\n=:") == {"minilm"}


def test_a_config_of_ones_own_is_offered(tab, tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "wide.yaml").write_text("name: wide\n")
    assert tab("peftlab show method=wi", PEFTLAB_CONF=str(tmp_path)) == {"method=wide"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_each_shell_are_its_own(shell, capsys):
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "peftlab" in said and f"peftlab completion {shell}" in said
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said, text=True, check=True)


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'peftlab[completion]'" in capsys.readouterr().err
