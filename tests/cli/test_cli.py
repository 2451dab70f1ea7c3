"""The command line: what it says, how it ends, and what it does not load."""

import json
import re
import subprocess
import sys

import pytest

from harness.__main__ import main
from harness.cli import arguments
from harness.cli.commands import VERBS
from harness.cli.grammar import load
from harness.cli.help import fitted
from tests.terminal import on_terminal

DIGITS = ["model=vit_micro", "dataset=digits", "recipe.epochs=1", "tracker=none", "device=cpu"]
FLAG = re.compile(r"--[a-z][a-z-]+")


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "argv", [["run", "method=lroa"], ["run", "dataset=digits", "recipe.lr=fast"], ["swep"], ["run", "--jsn"]]
)
def test_bad_input_is_one_sentence_and_exit_code_2(argv, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("peftlab: ")
    assert "Traceback" not in err


def test_a_path_that_cannot_be_is_one_sentence_that_names_it(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["run", *DIGITS, f"runs={tmp_path / 'file'}"]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]  # it began to load before
    assert re.fullmatch(rf"peftlab: {tmp_path}/file.*: Not a directory; .*", sentence)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_help_is_there(verb):
    assert callable(load(VERBS[verb].target))


def test_help_names_every_verb_and_loads_nothing(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in VERBS)
    loaded = _python(
        "import sys; from harness.__main__ import main; main(['-h']); print(sorted(sys.modules), file=sys.stdout)"
    )
    assert not {"torch", "hydra", "pandas", "wandb", "rich"} & set(loaded.replace("'", "").replace("]", "").split(", "))


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_names_the_flags_it_takes(verb, capsys):
    assert main([verb, "--help"]) == 0
    named = set(FLAG.findall(capsys.readouterr().out))
    assert main([verb, "x", "--no-such-flag"]) == 2
    takes = set(FLAG.findall(capsys.readouterr().err)) - {"--no-such-flag"}
    assert named == takes


def test_the_help_of_a_verb_lists_what_there_is_to_choose_from(capsys):
    assert main(["sweep", "method=lora", "-h"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("r_c3la", "minilm", "stdlib_docs", "quickstart", "example_site"))


def test_help_of_a_narrow_terminal_folds_all_but_commands():
    text = "What it\ndoes, in prose.\n\n  peftlab run method=lora\n  rows=N   at most so many examples of a split"
    assert fitted(text, 20).split("\n") == [
        "What it does, in",
        "prose.",
        "",
        "  peftlab run method=lora",
        "  rows=N   at most",
        "           so many",
        "           examples",
        "           of a",
        "           split",
    ]


def test_a_verb_says_that_it_loads_before_it_does_and_its_answer_stands_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(arguments, "load", lambda target: lambda given: seen.append(stream.getvalue()) or 0)
    with on_terminal() as stream:
        assert main(["status", "quickstart"]) == 0
    assert seen == ["\r\033[Kpeftlab status: loading\r\033[K"]


def test_a_second_call_answers_from_the_record_without_torch(tmp_path, peftlab_cache, capsys):
    words = [*DIGITS, "method=head", f"runs={tmp_path}", f"cache={peftlab_cache}"]
    assert main(["run", *words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    code = f"import sys; from harness.__main__ import main; main({[*words, '--json']!r}); print('torch' in sys.modules)"
    *answer, torch_loaded = _python(code).splitlines()
    assert json.loads("\n".join(answer)) == first
    assert torch_loaded == "False"


def test_multirun_flags_are_the_sweep_verb(tmp_path, peftlab_cache, capsys):
    words = [*DIGITS, "method=head,lora", f"runs={tmp_path}", f"cache={peftlab_cache}"]
    assert main(["plan", *words, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert len(planned["runs"]) == 2
    from harness.__main__ import _verb_of

    assert (
        _verb_of(["-m", *words]) == _verb_of([*words, "--multirun"]) == _verb_of(["sweep", *words]) == ("sweep", words)
    )
    assert _verb_of(words) == ("run", words)


def test_a_list_of_targets_is_shown_whole_in_a_plan(tmp_path, capsys):
    words = ["model=vit_micro", "dataset=digits", "method=lora", "method.targets=[q,o]", "method.update.rank=1,2"]
    assert main(["plan", *words, "--no-estimate", f"runs={tmp_path}"]) == 0
    assert "method.targets=[q,o]" in capsys.readouterr().out


def test_show_answers_in_json(capsys):
    assert main(["show", "dataset=kinship", "--json"]) == 0
    (view,) = json.loads(capsys.readouterr().out)
    assert view["dataset"] == "kinship" and len(view["examples"]) == 3
    assert view["rows"]["train"] > view["rows"]["test"] > 0
