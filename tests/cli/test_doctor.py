"""`peftlab doctor`: what it says of a machine that is made for the test."""

import importlib.metadata
import json
import subprocess
import sys

import pytest

from harness.__main__ import main
from harness.cli import doctor
from tests.loopback_hub import hub_server

SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without network, GPU, scheduler, keys, mirror and cache."""
    for name in ("PEFTLAB_MIRROR", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub/hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hub/token"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(doctor, "NVIDIA", tmp_path / "gpus")
    return tmp_path


@pytest.fixture
def ask(capsys, tmp_path):
    """Exit code and findings by name."""

    def call(*words):
        code = main(["doctor", *words, f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}", "--json"])
        return code, {row["what"]: row for row in json.loads(capsys.readouterr().out)}

    return call


def command(bare, name, text):
    tool = bare / "bin" / name
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)


def test_a_sweep_that_needs_no_hub_can_be_done_here(bare, ask):
    code, found = ask("sweep=quickstart", "dataset=digits")
    assert code == 0 and found["packages"]["ok"]
    assert found["hub"]["said"] == "127.0.0.1 does not answer"


def test_what_a_sweep_lacks_is_listed_with_the_next_step(bare, ask):
    code, found = ask("model=roberta_base", "dataset=paws,kinship")
    assert code == 1
    assert [what for what, row in found.items() if row["ok"] is False] == ["model roberta_base", "dataset paws"]
    assert "peftlab fetch dataset=paws" in found["dataset paws"]["todo"]


def test_a_mirror_and_an_answering_hub_are_enough(bare, ask, monkeypatch):
    folder = bare / "mirror" / "google-research-datasets" / "paws" / "labeled_final"
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        (folder / f"{split}-00000-of-00001.parquet").touch()
    monkeypatch.setenv("PEFTLAB_MIRROR", str(bare / "mirror"))
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        code, found = ask("model=roberta_base", "dataset=paws")
    assert code == 0 and found["dataset paws"]["ok"] and found["mirror"]["ok"]
    assert found["model roberta_base"]["todo"] == "peftlab fetch model=roberta_base"


def test_a_package_that_is_too_old_or_absent_is_named(bare, ask, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "4.57.1" if name == "transformers" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, found = ask()
    assert code == 1
    assert "transformers 4.57.1 is older than 5.18" in found["packages"]["said"]
    assert "peft is not installed" in found["packages"]["said"]


def test_keys_are_yes_or_no_and_never_their_value(bare, ask, monkeypatch, capsys):
    _, found = ask()
    assert found["hub token"]["said"].startswith("no") and "key: no" in found["W&B"]["said"]
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HF_TOKEN", "hf_" + SECRET)
    _, found = ask()
    assert found["hub token"]["said"] == "yes" and "key: yes" in found["W&B"]["said"]
    assert SECRET not in json.dumps(found)
    assert main(["doctor"]) in (0, 1) and SECRET not in capsys.readouterr().out


def test_online_tracking_without_a_key_cannot_be_done(bare, ask):
    code, found = ask("wandb.mode=online")
    assert code == 1 and found["W&B"]["ok"] is False and "wandb login" in found["W&B"]["todo"]


def test_a_scheduler_is_asked_and_not_waited_for(bare, ask, monkeypatch):
    monkeypatch.setattr("harness.execution.command.PATIENCE", 60.0)  # seconds, for a machine that stalls
    assert ask()[1]["SLURM"]["said"] == "not installed"
    assert ask("cluster=slurm")[0] == 1
    command(bare, "sinfo", "echo 'debug*'; echo gpu")
    code, found = ask("cluster=slurm")
    assert code == 0 and found["SLURM"]["said"] == "answers; partitions: debug*, gpu"
    command(bare, "sinfo", "exec /bin/sleep 30")
    monkeypatch.setattr("harness.execution.command.PATIENCE", 0.1)
    code, found = ask("cluster=slurm")  # had it been waited for, it would have answered, with nothing
    assert code == 1 and found["SLURM"]["said"] == "installed, and does not answer"


def test_a_gpu_is_named_and_a_missing_one_matters_when_it_is_asked_for(bare, ask):
    assert ask()[1]["GPU"]["said"].startswith("none")
    code, found = ask("device=cuda")
    assert code == 1 and found["GPU"]["todo"] == "use device=auto"
    (bare / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (bare / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t NVIDIA H200\nIRQ: 1\n")
    assert ask()[1]["GPU"]["said"].startswith("NVIDIA H200")


def test_a_full_disk_is_missing_with_the_keys_that_move_it(bare, ask, monkeypatch):
    monkeypatch.setattr(doctor, "_free", lambda path: 2**20)
    code, found = ask()
    assert code == 1 and "runs=DIR cache=DIR" in found["disk free"]["todo"]


def test_it_loads_no_torch(bare):
    code = "import sys; from harness.__main__ import main; main(['doctor', 'sweep=quickstart']); "
    code += "print(sorted({'torch', 'transformers', 'datasets', 'wandb'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("[]\n")


@pytest.fixture
def with_torchvision(bare, monkeypatch):
    """A torchvision of the test's own, before any other; its text."""

    def install(text):
        package = bare / "site" / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
        monkeypatch.syspath_prepend(bare / "site")
        monkeypatch.setenv("PYTHONPATH", str(bare / "site"))

    return install


def test_a_torchvision_of_another_torch_is_named_with_its_reason(with_torchvision, ask):
    with_torchvision("raise RuntimeError('operator torchvision::nms does not exist')")
    code, found = ask()
    row = found["torchvision"]
    assert code == 1 and row["ok"] is False and row["todo"] == "pip uninstall torchvision"
    assert "RuntimeError: operator torchvision::nms does not exist" in row["said"]


def test_a_torchvision_that_loads_is_said_and_none_is_no_line(with_torchvision, ask):
    with_torchvision("")
    code, found = ask()
    assert code == 0 and found["torchvision"]["ok"] is True


def test_without_torchvision_there_is_no_line_of_it(bare, ask, monkeypatch):
    find_spec = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "torchvision" else find_spec(name)
    )
    assert "torchvision" not in ask()[1]
