"""What a record says of its origin: enough to refuse a mixture, nothing about the person."""

import getpass
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.ledger.source import git_state
from harness.measure import environment as module
from harness.measure.environment import environment, fingerprint, provenance


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "one")
    git_state.cache_clear()
    return tmp_path


def test_a_changed_tracked_file_makes_the_checkout_dirty(repository: Path) -> None:
    clean = git_state(repository)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (repository / "untracked.txt").write_text("2")
    git_state.cache_clear()
    assert git_state(repository) == clean
    (repository / "a.py").write_text("2")
    git_state.cache_clear()
    assert git_state(repository) == clean | {"dirty": True}


def test_a_folder_inside_somebody_elses_checkout_has_no_commit(repository: Path) -> None:
    inside = repository / "site-packages"
    inside.mkdir()
    assert git_state(inside) == {"commit": None, "dirty": None}


def test_no_git_is_null_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git_state.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


@pytest.mark.parametrize("change", ["packages", "threads", "device", "python", "cuda", "matmul", "pinned"])
def test_whatever_may_change_a_number_changes_the_fingerprint(change: str) -> None:
    found = environment(torch.device("cpu"))
    assert fingerprint(found | {change: "another"}) != fingerprint(found)


def test_the_host_and_the_commit_do_not_change_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance()
    monkeypatch.setattr(module.platform, "node", lambda: "elsewhere")
    monkeypatch.setattr(module, "git_state", lambda root: {"commit": "0" * 40, "dirty": True})
    after = provenance()
    assert after["host"] == "elsewhere" != before["host"]
    assert after["fingerprint"] == before["fingerprint"]


def test_the_number_of_threads_is_the_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert provenance()["threads"] == 7


def test_it_is_json_and_names_no_user_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
    text = json.dumps(provenance(), allow_nan=False)
    found: dict[str, Any] = json.loads(text)
    assert found["packages"]["torch"] == torch.__version__
    assert "planted-secret" not in text and str(Path.home()) not in text and str(module.ROOT) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_asked_again_it_starts_no_program_and_looks_up_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance()
    for place, name in ((subprocess, "Popen"), (module.importlib.metadata, "version"), (module.Path, "read_text")):
        monkeypatch.setattr(place, name, lambda *_, **__: pytest.fail("looked up again"))
    assert provenance() == before
