"""`peftlab sync` and online runs against a W&B server of our own: real wandb, real HTTP, no account."""

import json
import math
import subprocess
import sys

import pytest

from harness.__main__ import main
from harness.cli.sync import waiting
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.context import Stopped
from harness.training.run import run_one
from tests.loopback import KEY, wandb_server

WORDS = ("model=vit_micro", "dataset=digits", "method=lora", "recipe.epochs=3", "recipe.evaluations=3", "device=cpu")
WORDS += ("recipe.max_steps=66", "checkpoint_seconds=0")


@pytest.fixture
def server(monkeypatch):
    """wandb's server, with what wandb needs to find it."""
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


@pytest.fixture
def begin(tmp_path, peftlab_cache):
    """What run_one takes, for a run in a store of its own."""

    def plan(*words):
        request = read_request([*WORDS, f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config, "a-sweep")
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def _stopped_after(steps, planned, store, settings):
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked) >= steps)


def _validations(run):
    return {row["_step"]: row["val_accuracy"] for row in run.history.values() if "val_accuracy" in row}


@pytest.mark.slow
def test_a_run_in_three_attempts_one_of_them_killed_is_one_run_up_there_and_is_uploaded_once(begin, server, capsys):
    planned, store, settings = begin()
    _stopped_after(20, planned, store, settings)
    assert not waiting(store), "a run without a record may be live"
    _stopped_after(20, planned, store, settings)
    record = run_one(planned, store, settings)
    assert record.attempts == 3
    (folders,) = waiting(store)
    assert len(folders) == 3
    (file,) = folders[0].glob("*.wandb")
    file.write_bytes(file.read_bytes()[:-20])  # as after a SIGKILL: the end of the attempt is not in it

    assert main(["sync", f"runs={store.root}"]) == 0
    assert "1 of 1 runs uploaded" in capsys.readouterr().out
    (name,) = server.runs
    run = server.runs[name]
    assert name == planned.id and run.group == "a-sweep" and len(run.exit_codes) == 3
    assert _validations(run) == pytest.approx({point.step: point.val["accuracy"] for point in record.curve})
    assert run.summary["test/accuracy"] == pytest.approx(record.scores["test"]["accuracy"].value)
    assert math.isclose(run.summary["seconds/train"], record.seconds["train"].value)
    assert run.config["method"]["value"]["name"] == "lora"

    before = server.requests
    assert main(["sync", f"runs={store.root}"]) == 0
    assert server.requests == before
    assert "no offline W&B run is waiting" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_an_online_run_reaches_the_server_as_it_goes(begin, server):
    words = ("wandb.mode=online", "recipe.epochs=1")
    planned, store, settings = begin(*words)
    command = [sys.executable, "-m", "harness", "run", *WORDS, *words]  # wandb reads its address once a process
    command += [f"runs={store.root}", f"cache={settings.cache}"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    record, run = store.read(planned.id), server.runs[planned.id]
    assert run.exit_codes == [0]
    assert _validations(run) == pytest.approx({point.step: point.val["accuracy"] for point in record.curve})
    assert not waiting(store), "nothing is left to upload"


def test_a_server_that_does_not_answer_is_said_in_seconds_and_nothing_is_marked(begin, monkeypatch, capsys):
    planned, store, settings = begin("recipe.max_steps=2", "recipe.evaluations=1")
    run_one(planned, store, settings)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["sync", f"runs={store.root}"]) == 1
    assert "127.0.0.1 does not answer" in capsys.readouterr().out
    assert len(waiting(store)) == 1


@pytest.mark.slow
def test_a_refused_upload_is_named_with_its_reason_and_stays_waiting(begin, server, monkeypatch, tmp_path, capsys):
    planned, store, settings = begin("recipe.max_steps=2", "recipe.evaluations=1")
    run_one(planned, store, settings)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))  # nor a key in a netrc
    assert main(["sync", f"runs={store.root}"]) == 1
    said = capsys.readouterr().out
    assert planned.id in said and "No API key" in said
    assert len(waiting(store)) == 1 and not server.runs


def test_sync_answers_in_json(tmp_path, capsys):
    assert main(["sync", f"runs={tmp_path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": str(tmp_path), "waiting": [], "left": [], "why": ""}
