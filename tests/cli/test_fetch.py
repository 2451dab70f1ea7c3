"""`peftlab fetch` against a hub of our own (real HTTP, the real client), and without any network."""

import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.config.resolve import Resolver
from harness.data.hub_cache import locate, mirror_of
from harness.data.source import find_source
from harness.planning.plan import read_request
from harness.planning.requirements import required_artifacts
from tests.loopback_hub import COMMIT, hub_server
from tests.parts import part_of

RESOLVER = Resolver()
PAWS, DJANGO, ROBERTA = "google-research-datasets/paws", "AhmedSSoliman/DJANGO", "FacebookAI/roberta-base"
CONFIG, WEIGHTS = b'{"model_type": "roberta"}', b"\x02\0\0\0\0\0\0\0{}"


def _parquet(**columns):
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with a few small repositories, and a machine that holds nothing."""
    for name in (
        "PEFTLAB_MIRROR",
        "HF_HUB_OFFLINE",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HF_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home/hub"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with hub_server() as hub:
        splits = ("train", "validation", "test")
        rows = {split: _parquet(sentence1=[split], sentence2=["b"], label=[1]) for split in splits}
        paws = {f"labeled_final/{split}-00000-of-00001.parquet": content for split, content in rows.items()}
        hub.files["datasets", PAWS] = paws | {"README.md": b"not wanted", "labeled_swap/train-0.parquet": b"nor this"}
        names = ("train.csv", "valid.csv", "test.csv")
        hub.files["datasets", DJANGO] = dict.fromkeys(names, b"nl,code\nadd one,x += 1\n")
        hub.files["models", ROBERTA] = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "code.py": b"import os"}
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def fetch(*words):
    """The verb in a process of its own: the client reads its address once."""
    said = subprocess.run(
        [sys.executable, "-m", "harness", "fetch", *map(str, words)], capture_output=True, text=True, env=os.environ
    )
    assert said.returncode in (0, 1), said.stderr
    return said.returncode, said.stdout


def states(*words):
    code, said = fetch(*words, "--json")
    return code, {row["id"].partition(" ")[0]: row for row in json.loads(said)}


def place_of(*words):
    (one,) = required_artifacts(read_request(words), RESOLVER)
    return locate(one, mirror_of())


def test_what_is_missing_is_fetched_once_and_nothing_else_is(hub):
    code, found = states("model=roberta_base", "dataset=paws")
    assert code == 0 and {row["state"] for row in found.values()} == {"fetched"}
    wanted_files = {
        "config.json",
        "model.safetensors",
        *(name for name in hub.files["datasets", PAWS] if "final" in name),
    }
    assert sorted(hub.served) == sorted(wanted_files)
    assert place_of("dataset=paws").name == COMMIT
    code, found = states("model=roberta_base", "dataset=paws")
    assert code == 0 and {row["state"] for row in found.values()} == {"at hand"}
    assert sorted(hub.served) == sorted(wanted_files)


def test_what_was_fetched_is_read_afterwards_without_a_network(hub, monkeypatch):
    assert fetch("dataset=paws")[0] == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    command = [sys.executable, "-m", "harness", "show", "dataset=paws"]
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert said.returncode == 0 and f"revision {COMMIT}" in said.stdout, said.stderr


def test_a_fetch_that_was_cut_off_goes_on_with_the_rest(hub):
    assert fetch("dataset=paws")[0] == 0
    snapshot = place_of("dataset=paws")
    lost = snapshot / "labeled_final" / "test-00000-of-00001.parquet"
    lost.resolve().unlink()
    lost.unlink()
    hub.served.clear()
    assert place_of("dataset=paws") is None
    assert fetch("dataset=paws")[0] == 0
    assert lost.is_file() and hub.served == ["labeled_final/test-00000-of-00001.parquet"]


def test_a_file_that_is_not_what_the_hub_has_is_deleted_and_fetched_anew(hub):
    hub.broken.add("model.safetensors")
    code, found = states("model=roberta_base")
    assert code == 1 and "is not what the hub sent" in found[ROBERTA]["note"]
    assert place_of("model=roberta_base") is None
    hub.broken.clear()
    assert states("model=roberta_base")[0] == 0
    assert (place_of("model=roberta_base") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_gated_or_absent_repository_says_what_to_do_and_stops_no_other(hub):
    hub.files["models", "meta-llama/Meta-Llama-3-8B"] = {"config.json": CONFIG}
    hub.gated.add("meta-llama/Meta-Llama-3-8B")
    code, found = states("model=llama3_8b,tinyllama,roberta_base")
    assert code == 1
    gated = found.pop("meta-llama/Meta-Llama-3-8B")
    assert gated["state"] == "gated" and "accept the licence" in gated["todo"] and "HF_TOKEN" in gated["todo"]
    assert found.pop(ROBERTA)["state"] == "fetched"
    (absent,) = found.values()
    assert absent["state"] == "missing" and "no repository of that id" in absent["note"] and "id" in absent["todo"]


def test_a_revision_that_is_not_there_is_said_with_its_name(hub):
    code, found = states("model=roberta_base", "model.source.revision=v9")
    (row,) = found.values()
    assert code == 1 and row["state"] == "missing"
    assert row["note"] == "it has no revision v9" and "revision" in row["todo"]


def test_a_download_that_breaks_off_stops_no_other_and_goes_on_the_next_time(hub):
    hub.cut.add("model.safetensors")
    code, found = states("model=roberta_base", "dataset=paws")
    assert code == 1 and found[PAWS]["state"] == "fetched"
    assert found[ROBERTA]["state"] == "missing" and "goes on where it stopped" in found[ROBERTA]["todo"]
    hub.cut.clear()
    hub.served.clear()
    code, found = states("model=roberta_base", "dataset=paws")
    assert code == 0 and hub.served == ["model.safetensors"]


def test_a_repository_without_weights_is_not_at_hand(hub):
    del hub.files["models", ROBERTA]["model.safetensors"]
    code, found = states("model=roberta_base")
    assert code == 1 and "has no *.safetensors" in found[ROBERTA]["note"]


def test_a_mirror_holds_parquet_by_split_whatever_the_hub_had(hub, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    code, _ = fetch("dataset=paws,django", "model=roberta_base", "--mirror", mirror)
    assert code == 0
    held = {path.relative_to(mirror).as_posix() for path in mirror.rglob("*") if path.is_file()}
    assert f"{PAWS}/labeled_final/train-00000-of-00001.parquet" in held
    assert f"{DJANGO}/validation-00000-of-00001.parquet" in held
    assert f"{ROBERTA}/model.safetensors" in held and not [name for name in held if "README" in name or ".py" in name]
    monkeypatch.setenv("PEFTLAB_MIRROR", str(mirror))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nothing/hub"))
    tables, _ = find_source(part_of(RESOLVER, "dataset", ["dataset=django"]).spec).read()
    assert tables["validation"].to_pylist() == [{"nl": "add one", "code": "x += 1"}]
    code, found = states("dataset=paws,django", "model=roberta_base")
    assert code == 0 and {row["state"] for row in found.values()} == {"at hand"}


@pytest.mark.parametrize("words", [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", "1")])
def test_without_a_network_everything_missing_is_listed(hub, monkeypatch, words):
    monkeypatch.setenv(*words)
    code, said = fetch("model=roberta_base,llama3_8b", "dataset=paws")
    assert code == 1 and "0 of 3 repositories at hand" in said
    assert ROBERTA in said and PAWS in said and "where there is a network" in said


def test_a_sweep_needs_each_repository_once_and_what_is_built_in_not_at_all():
    found = required_artifacts(read_request(["sweep=beyond_lora"]), RESOLVER)
    addresses = [(one.kind, one.address) for one in found]
    assert len(set(addresses)) == len(addresses)
    assert sum(one.kind == "model" for one in found) == 10
    assert sum(one.repo == "nyu-mll/glue" for one in found) == 3  # MRPC, STS-B, CoLA: a config each
    assert not required_artifacts(read_request(["sweep=quickstart"]), RESOLVER)
    assert not required_artifacts(read_request(["model=llama3_8b", "model.size=tiny"]), RESOLVER)


def test_fetch_without_a_word_or_a_folder_is_a_sentence(capsys):
    from harness.__main__ import main

    assert main(["fetch"]) == 2 and "what to fetch" in capsys.readouterr().err
    assert main(["fetch", "dataset=paws", "--mirror"]) == 2 and "--mirror DIR" in capsys.readouterr().err
    assert main(["fetch", "dataset=paw"]) == 2 and "Did you mean 'paws'" in capsys.readouterr().err
