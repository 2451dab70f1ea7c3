"""The W&B mirror: an offline run is read back with wandb's own tool; whatever breaks is a warning."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness.__main__ import main
from harness.cli.sync import waiting
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.execution import local
from harness.ledger.plan import write_plan
from harness.ledger.store import Store
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.training.run import run_one
from tests.loopback import KEY, wandb_server

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
    with nobody() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    record, folder = _run(tmp_path, peftlab_cache, "wandb.mode=online")
    assert record.status == "done"
    assert any("does not answer" in entry.message for entry in caplog.records)
    assert list(folder.glob("wandb/offline-run-*"))


@contextmanager
def nobody():
    """An address that nobody listens on."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    yield address


@contextmanager
def mute():
    """A server that takes every call and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def falling_silent():
    """A server that answers until a run has begun, and then says nothing for as long as the sweep lasts."""
    with wandb_server() as server:
        over = []
        server.stream = lambda run_id, body: [time.sleep(0.1) for _ in iter(lambda: bool(over), True)]
        yield server.url
        over.append(True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, peftlab_cache):
    """Scores of the sweep without a tracker, by this process."""
    plan, settings = _planned(tmp_path_factory.mktemp("undisturbed") / "runs", peftlab_cache, "tracker=none")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for planned in plan.runs:
        run_one(planned, Store(settings.runs), settings)
    torch.set_num_threads(threads)
    return _scores(plan, Store(settings.runs))


def _planned(runs, cache, *words):
    """A sweep of two real runs."""
    request = read_request([*WORDS, "seed=0,1", "recipe.max_steps=4", f"runs={runs}", f"cache={cache}", *words])
    plan = plan_sweep(request, Resolver())
    return plan, settings_from(request.config, plan.name)


def _sweep(runs, cache, *words):
    """It, by one worker process, as `peftlab sweep` does it."""
    plan, settings = _planned(runs, cache, *words)
    write_plan(settings.runs, plan)
    store = Store(settings.runs)
    return plan, store, local.launch(plan, store, settings, {"processes": 1, "threads": 1})


def _scores(plan, store):
    return {i: {name: q.value for name, q in store.read(i).scores["test"].items()} for i in plan.ids}


@pytest.mark.long
@pytest.mark.parametrize("server", [nobody, mute, falling_silent])
def test_a_sweep_whose_server_is_no_use_is_done_with_the_same_scores_and_uploaded_later(
    server, tmp_path, peftlab_cache, monkeypatch, undisturbed
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    with server() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        plan, store, code = _sweep(tmp_path / "runs", peftlab_cache, "tracker=wandb", "wandb.mode=online")
    assert code == 0 and _scores(plan, store) == undisturbed
    for run_id in plan.ids:
        events = [json.loads(line)["event"] for line in store.paths(run_id).events.read_text().splitlines()]
        assert [events.count(name) for name in ("start", "resume", "end")] == [1, 0, 1], "done exactly once"
        assert "peftlab sync" in store.paths(run_id).log.read_text(), "the run's log says what became of its mirror"
    assert len(waiting(store)) == 2

    with wandb_server() as later:
        monkeypatch.setenv("WANDB_BASE_URL", later.url)
        assert main(["sync", f"runs={store.root}"]) == 0
    assert sorted(later.runs) == sorted(plan.ids) and not waiting(store)
    for run_id in plan.ids:
        assert later.runs[run_id].summary["test/accuracy"] == pytest.approx(undisturbed[run_id]["accuracy"])
