"""A request that is wrong is refused in seconds: exit code 2, a sentence that names what and where, and no torch."""

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.groups import GROUPS
from tests import bad_requests
from tests.bad_requests import FILES, SWEEPS

STORE = Path(__file__).parents[1] / "store_v1" / "runs"
PATIENCE = 60  # seconds after which a request counts as one that hangs
LEAST = 400


class NoTorch:
    """An importer that refuses torch: a wrong request is known to be wrong without it."""

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise AssertionError("torch is imported for a request that is wrong")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store, a folder of broken configs, and some files that are none."""
    place = tmp_path_factory.mktemp("place")
    for group in GROUPS:
        (place / "conf" / group / "folder.yaml").mkdir(parents=True)
        for name, content in FILES.items():
            (place / "conf" / group / f"{name}.yaml").write_bytes(content)
    for name, (text, _) in SWEEPS.items():
        (place / "conf" / "sweep" / f"s_{name}.yaml").write_text(f"name: s_{name}\n{text}\n", encoding="utf-8")
    shutil.copytree(STORE, place / "runs")
    (place / "folder").mkdir()
    for name, content in {"folder/x": b"", "empty.csv": b"", "binary.csv": b"\x00\xff", "t.csv": b"a,b\n"}.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def asked(place, monkeypatch):
    """`main`, where torch cannot be imported and nothing hangs."""

    def hangs(*_):
        raise AssertionError(f"no answer in {PATIENCE} s")

    monkeypatch.chdir(place)
    monkeypatch.setenv("PEFTLAB_CONF", str(place / "conf"))
    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(PATIENCE)
    yield main
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


BAD = list(bad_requests.everything())


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_wrong_request_is_refused_in_a_sentence_that_names_what_is_wrong(bad, asked, capsys):
    assert asked(list(bad.argv)) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("peftlab: ") and sentence.count("\n") <= 4 and "Traceback" not in sentence
    for spellings in bad.names:
        assert any(word in sentence for word in ([spellings] if isinstance(spellings, str) else spellings)), sentence


def test_the_table_is_large_and_holds_every_verb():
    assert len(BAD) >= LEAST
    assert {bad.argv[0] for bad in BAD} >= set(bad_requests.VERBS)


@pytest.mark.parametrize(("name", "value"), [("PEFTLAB_CONF", "/nowhere/conf"), ("PEFTLAB_MIRRROR", "x")])
def test_a_variable_that_is_misspelt_or_points_nowhere_is_refused(name, value, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert main(["plan", "--no-estimate"]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["show", "dataset=digits"], ["status"], ["report", "quickstart", "--partial"]])
def test_a_pipe_that_is_not_utf8_gets_an_answer(argv, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [f"runs={place / 'runs'}"] if argv[0] == "show" else ["--runs", str(place / "runs")]
    pipes = {name: io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True) for name in ("stdout", "stderr")}
    for name, pipe in pipes.items():
        monkeypatch.setattr(sys, name, pipe)
    main([*argv, *runs])
    assert b"Traceback" not in pipes["stderr"].buffer.getvalue() and pipes["stdout"].buffer.getvalue()


def test_a_process_whose_pipes_are_not_utf8_answers(place):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "status", "--runs", str(place / "runs")],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and done.stdout
