"""The W&B mirror: an offline run is read back with wandb's own tool; whatever breaks is a warning."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ledger.store import Store
from harness.plan import plan_one, read_request
from harness.resolve import Resolver
from harness.run import run_one
from harness.settings import settings_from

WORDS = ("model=vit_micro", "dataset=digits", "method=head", "recipe.epochs=1", "recipe.evaluations=2", "device=cpu")


def _run(tmp_path, cache, *words):
    request = read_request([*WORDS, f"runs={tmp_path}", f"cache={cache}", *words])
    settings = settings_from(request.config, "a-sweep")
    planned = plan_one(request, Resolver())
    return run_one(planned, Store(settings.runs), settings), tmp_path / planned.id


def _read_back(folder: Path) -> list[dict]:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_an_offline_run_holds_the_records_names_and_numbers(tmp_path, peftlab_cache):
    record, folder = _run(tmp_path, peftlab_cache)
    text = json.dumps(_read_back(folder))
    assert record.id in text and "a-sweep" in text
    for name in ("test/accuracy", "seconds/train", "ledger/saved_for_backward", "val_accuracy"):
        assert name in text, name
    assert str(record.scores["test"]["accuracy"].value) in text


def test_a_broken_tracker_is_one_warning_and_never_a_failed_run(tmp_path, peftlab_cache, monkeypatch, caplog):
    import wandb

    def refuse(**settings):
        raise wandb.errors.CommError("no route to the server")

    monkeypatch.setattr(wandb, "init", refuse)
    record, _ = _run(tmp_path, peftlab_cache)
    assert record.status == "done"
    warnings = [entry for entry in caplog.records if "W&B" in entry.message]
    assert len(warnings) == 1 and "no route to the server" in warnings[0].message


@pytest.mark.parametrize("words", [("tracker=none",), ("wandb.mode=disabled",)])
def test_without_a_tracker_wandb_is_not_touched(tmp_path, peftlab_cache, monkeypatch, words):
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **settings: pytest.fail("wandb was started"))
    record, folder = _run(tmp_path, peftlab_cache, *words)
    assert record.status == "done" and not (folder / "wandb").exists()


def test_the_record_holds_no_secret(tmp_path, peftlab_cache, monkeypatch):
    secret = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN", "hf_" + secret)
    _, folder = _run(tmp_path, peftlab_cache)
    for file in folder.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def test_an_online_run_whose_server_is_silent_is_kept_offline(tmp_path, peftlab_cache, monkeypatch, caplog):
    import socket

    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    record, folder = _run(tmp_path, peftlab_cache, "wandb.mode=online")
    assert record.status == "done" and record.seconds["log"].value < 20
    assert any("does not answer" in entry.message for entry in caplog.records)
    assert list(folder.glob("wandb/offline-run-*"))
