"""What leaves a machine names nobody and proves itself; what comes from others is held against its own predictions."""

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from analysis.audit import audit
from analysis.load import load
from analysis.sharing import archive as archive_module
from analysis.sharing.archive import unpack
from analysis.sharing.bundle import bundle, said
from analysis.sharing.pool import pooled
from analysis.sharing.scrub import scrub_for, scrub_secrets
from harness.cli.arguments import call
from harness.ledger.dataset_spec import LEFT_OUT
from harness.ledger.errors import RecordError
from harness.ledger.fingerprint import fingerprint
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned, Skipped, write_plan
from harness.ledger.side_record import SideRecord
from harness.ledger.spec import RunSpec

HONEST = Path(__file__).with_name("honest_runs")  # LoRA and cLA on digits, seeds 0 and 1, as the quickstart made them
LORA, CLA = "58e0039b85a7e5b2", "43f095a70a568b32"
HOST, USER, TOKEN = "gpu-node17", "janedoe", "pa55-of-the-week"
PLANTED = (HOST, USER, TOKEN, "/home/", "jane@lab.example", "hf_abcdefghij0123456789", "10TOPSECRET")


def change(path: Path, edit) -> None:
    raw = json.loads(path.read_bytes())
    edit(raw)
    path.write_text(json.dumps(raw))


def store(runs: Path, about=None, skipped=()) -> Path:
    """The honest runs and their plan."""
    shutil.copytree(HONEST, runs)
    return with_plan(runs, about, skipped)


def with_plan(runs: Path, about=None, skipped=()) -> Path:
    specs = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(runs.glob("*/spec.json"))}
    axes = ("method", "model", "dataset", "recipe")
    planned = tuple(Planned(run, {a: spec[a]["name"] for a in axes}, spec) for run, spec in specs.items())
    write_plan(runs, Plan("four", planned, skipped, {"control": "lora", "margin": 1.0} | (about or {})))
    return runs


def elsewhere(runs: Path, torch: str = "2.1.0") -> Path:
    """The same runs done by another version of torch, each a little slower."""
    for folder in runs.glob("*/record.json"):
        edit_record(folder, torch)
    return runs


def edit_record(path: Path, torch: str) -> None:
    def edit(raw) -> None:
        raw["provenance"]["packages"]["torch"] = torch
        raw["provenance"]["fingerprint"] = fingerprint(raw["provenance"])
        for name in ("setup", "wall"):
            raw["seconds"][name]["value"] += 1e-3

    change(path, edit)
    seconds = json.loads(path.read_bytes())["seconds"]
    *lines, last = (path.parent / "events.jsonl").read_text().splitlines()
    end = json.loads(last) | {f"seconds/{name}": seconds[name]["value"] for name in ("setup", "wall")}
    (path.parent / "events.jsonl").write_text("\n".join([*lines, json.dumps(end)]) + "\n")


def plant(runs: Path) -> None:
    """Names, places and secrets wherever a run's folder may hold words."""
    words = f"/home/{USER}/x.py on {HOST}: token={TOKEN}, jane@lab.example"

    def in_record(raw) -> None:
        raw["provenance"] |= {"host": HOST, "user": USER, "argv": ["peftlab", f"/home/{USER}"]}
        raw["notes"] = [words]
        raw["spec"]["dataset"]["about"]["source"] = words

    folder = runs / LORA
    change(folder / "record.json", in_record)
    change(folder / "spec.json", lambda raw: raw["dataset"]["about"].update(source=words))
    event = {"t": 1795627401.3, "event": "trouble", "message": words, "path": f"/home/{USER}"}
    lines = (folder / "events.jsonl").read_text().splitlines()
    (folder / "events.jsonl").write_text("\n".join([lines[0], json.dumps(event), *lines[1:]]) + "\n")
    side = SideRecord("bounds", 1, LORA, {"rows": 8}, {"said": words, "g": 0.5}, {"host": HOST, "threads": 1})
    (folder / "bounds").mkdir()
    (folder / "bounds" / f"{side.digest}.json").write_text(json.dumps(vars(side)))
    for name in ("run.log", "adapter/adapter_model.safetensors", "wandb/secret.json", "checkpoint/state.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("10TOPSECRET")
    rows = pd.read_parquet(folder / "predictions.parquet")
    rows.assign(path=f"/home/{USER}").to_parquet(folder / "predictions.parquet", index=False)
    with_plan(runs, {"title": words}, (Skipped({"method": "full"}, f"{words} hf_abcdefghij0123456789"),))


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user and an environment whose names and secrets are known."""
    monkeypatch.setenv("LOGNAME", USER)
    monkeypatch.setenv("HOME", f"/home/{USER}")
    monkeypatch.setenv("WANDB_API_KEY", TOKEN)


def contents(path: Path) -> dict[str, bytes]:
    """Every member, parquet files as the text of their rows and of what is kept beside them."""
    with zipfile.ZipFile(path) as members:
        texts = {name: members.read(name) for name in members.namelist()}
    for name in [name for name in texts if name.endswith(".parquet")]:
        texts[name] += pd.read_parquet(io.BytesIO(texts[name])).to_csv().encode()
    return texts


def test_a_bundle_holds_nothing_of_its_machine_and_people(tmp_path: Path, named) -> None:
    plant(runs := store(tmp_path / "runs"))
    made = bundle("four", runs, tmp_path / "four.zip")
    assert made.records == 4 and made.missing == 0 and made.refuted == ()
    texts = contents(made.path)
    assert {name.split("/")[-1] for name in texts if name.startswith(CLA)} == {
        *("record.json", "spec.json", "events.jsonl", "predictions.parquet"),
    }
    assert [name for name in texts if "/bounds/" in name]
    for name, text in texts.items():
        assert not [word for word in PLANTED if word.encode() in text], name
    bundle("four", runs, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == made.path.read_bytes()


def test_a_bundle_proves_itself_and_has_the_scores_of_its_store(tmp_path: Path, named) -> None:
    plant(runs := store(tmp_path / "runs"))
    made = bundle("four", runs, tmp_path / "four.zip")
    own = load("four", runs)
    with pooled([made.path]) as frame:
        assert [f for f in audit(frame) if f.level != "suspicious"] == []
        assert frame.rows["shown"].dropna().tolist() == own.rows["shown"].dropna().tolist()
        assert frame.rows["host"].tolist() == [""] * 5 and frame.margin == 1.0 and frame.control == "LoRA"
        assert frame.rows["status"].tolist().count("skipped") == 1
        assert frame.notes[0] == "Pooled from four (4 records). Each record was held against its own predictions."
    assert not Path(frame.runs).exists()


def test_a_lie_in_a_bundle_is_a_damaged_row_and_named(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs")
    change(runs / LORA / "record.json", lambda raw: raw["scores"]["test"]["accuracy"].update(value=0.999))
    shutil.make_archive(str(tmp_path / "lie"), "gztar", runs)
    with pooled([tmp_path / "lie.tar.gz"]) as frame:
        (damaged,) = frame.rows[frame.rows["status"] == "damaged"].itertuples()
        assert "0.999 in the record" in damaged.reason and damaged.id == f"lie/{LORA}"
        assert any(LORA in finding.where or LORA in finding.what for finding in audit(frame))
    made = bundle("four", runs, tmp_path / "honest.zip")
    assert made.refuted == (LORA,) and LORA in said(made)[1]
    assert not [name for name in contents(made.path) if name.startswith(LORA)]


def test_environments_are_blocks_and_runs_done_in_both_are_said(tmp_path: Path) -> None:
    here, there = store(tmp_path / "here"), elsewhere(store(tmp_path / "there"))
    with pooled([here, there]) as frame:
        assert len(frame.blocks) == 2 and frame.rows["done"].sum() == 8
        for block in frame.blocks:
            assert frame.block(block)["fingerprint"].nunique() == 1
        assert "Done in several environments" in frame.notes[1]
        assert "of here and there" in frame.notes[1] and "and 1 more" in frame.notes[1]
        assert frame.notes[-1].startswith("Environments: ") and "of there" in frame.notes[-1]


def test_a_record_that_two_sites_give_counts_once(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs")
    made = bundle("four", runs, tmp_path / "four.zip")
    with pooled([runs, made.path]) as frame:
        assert frame.rows["done"].sum() == 4 and len(frame.blocks) == 1
        assert "The same record twice, counted once" in frame.notes[1]


def test_a_run_done_again_in_one_environment_counts_once(tmp_path: Path) -> None:
    first, again = store(tmp_path / "first"), store(tmp_path / "again")
    edit_record(again / LORA / "record.json", "2.13.0+cpu")
    with pooled([first, again]) as frame:
        assert frame.rows["id"].str.startswith("first/").all() and len(frame.rows) == 4
        assert f"Done twice in one environment, of which the first that was given counts: run {LORA}" in frame.notes[2]


def test_two_records_of_one_clock_that_differ_are_both_left_out(tmp_path: Path) -> None:
    first, edited = store(tmp_path / "first"), store(tmp_path / "edited")
    change(edited / LORA / "record.json", lambda raw: raw["scores"]["test"]["loss"].update(value=0.1))
    with pooled([first, edited]) as frame:
        assert not frame.rows["id"].str.endswith(LORA).any()
        assert f"neither record counts: run {LORA} of first and edited" in frame.notes[1]


def test_a_hole_at_one_site_is_no_hole_where_another_has_the_run(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs")
    shutil.copytree(runs / LORA, tmp_path / "other" / LORA)
    shutil.rmtree(runs / LORA)
    shutil.rmtree(runs / CLA)
    bundle("four", runs, tmp_path / "two.zip")
    with pooled([tmp_path / "two.zip", tmp_path / "other"]) as frame:
        assert sorted(frame.rows["status"]) == ["done", "done", "done", "missing"]


def local(runs: Path) -> str:
    """LoRA's run as one of files of this machine; its new id."""
    source = {"kind": "folder", "path": "/home/janedoe/data/fruit", "files": {}}
    spec = json.loads((runs / LORA / "spec.json").read_bytes())
    spec["dataset"]["source"] = source
    name = run_id(parse(RunSpec, spec, "run"))
    (runs / LORA).rename(runs / name)
    change(runs / name / "spec.json", lambda raw: raw["dataset"].update(source=source))
    change(runs / name / "record.json", lambda raw: (raw["spec"]["dataset"].update(source=source), raw.update(id=name)))
    with_plan(runs)
    return name


def test_the_place_of_local_data_is_left_out_and_its_id_is_said_to_be_unproved(tmp_path: Path) -> None:
    name = local(runs := store(tmp_path / "runs"))
    made = bundle("four", runs, tmp_path / "four.zip")
    assert made.local == ("digits",) and "are they yours to give?" in said(made)[1]
    texts = contents(made.path)
    assert not [member for member, text in texts.items() if b"janedoe" in text]
    assert LEFT_OUT.encode() in texts[f"{name}/spec.json"]
    with pooled([made.path]) as frame:
        assert frame.rows["done"].sum() == 4
        assert [f.what[:22] for f in audit(frame) if f.level == "unproved"] == ["the place of its data "]


def test_a_setting_that_holds_a_secret_is_not_bundled(tmp_path: Path, named) -> None:
    runs = store(tmp_path / "runs")
    change(runs / LORA / "spec.json", lambda raw: raw["dataset"]["source"].update(options={"key": TOKEN}))
    with pytest.raises(RecordError, match=r"dataset\.source\.options\.key holds what looks like .* a secret"):
        bundle("four", with_plan(runs), tmp_path / "four.zip")
    assert list(tmp_path.glob("*.zip")) == []


def test_a_bundle_replaces_nothing_and_is_never_empty(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs")
    (tmp_path / "four.zip").write_text("mine")
    with pytest.raises(RecordError, match="is there already"):
        bundle("four", runs, tmp_path / "four.zip")
    for folder in runs.glob("*/record.json"):
        folder.unlink()
    with pytest.raises(RecordError, match="has no record"):
        bundle("four", runs, tmp_path / "new.zip")
    assert (tmp_path / "four.zip").read_text() == "mine" and not (tmp_path / "new.zip").exists()


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("%", "/"), text)
    return path


def tarred(path: Path) -> Path:
    """A link in a record's place, a device, and a name that leaves the folder."""
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo(f"{LORA}/record.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        device = tarfile.TarInfo(f"{CLA}/record.json")
        device.type = tarfile.CHRTYPE
        archive.addfile(link)
        archive.addfile(device)
        outside = tarfile.TarInfo("../../plan.json")
        outside.size = 2
        archive.addfile(outside, io.BytesIO(b"{}"))
    return path


def truncated(path: Path) -> Path:
    whole = zipped(path.with_name("whole.zip"), **{f"{LORA}%record.json": "x" * 5000}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def text(path: Path) -> Path:
    path.write_text("no archive at all")
    return path


GARBAGE = {
    "is not there": lambda path: path,
    "is no archive that can be read": text,
    "is no archive that can be read ": truncated,
    "holds no record that can be read": zipped,
    "holds no record that can be read ": tarred,
    "holds no record that can be read (first of 1 that were refused": lambda path: zipped(
        path, **{f"{LORA}%record.json": "[" * 90_000}
    ),
    "that were refused: record": lambda path: zipped(path, **{f"{LORA}%record.json": '{"schema": 3}'}),
    "twice and is not read": lambda path: zipped(path, **{f"a%{LORA}%record.json": "1", f"{LORA}%record.json": "2"}),
}


@pytest.mark.parametrize("sentence", GARBAGE)
def test_what_is_no_bundle_is_refused_in_a_sentence(tmp_path: Path, sentence: str) -> None:
    place = GARBAGE[sentence](tmp_path / "bundle")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RecordError) as error, pooled([place]):
        pass
    assert sentence.strip() in str(error.value) and len(str(error.value)) < 600
    assert sorted(tmp_path.iterdir()) == before


def test_no_member_of_an_archive_leaves_the_folder(tmp_path: Path) -> None:
    names = (f"../{LORA}/record.json", f"/{CLA}/record.json", "..%..%etc%passwd", f"..\\{CLA}\\spec.json", "x.py")
    unpack(zipped(tmp_path / "a.zip", **dict.fromkeys(names, "x")), tmp_path / "in")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"a.zip", f"in/{LORA}/record.json", f"in/{CLA}/record.json"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = zipped(tmp_path / "a.zip", **{f"{LORA}%events.jsonl": "0" * 200_000, f"{CLA}%events.jsonl": "0"})
    if kind == "tar.gz":
        with tarfile.open(path := tmp_path / "a.tar.gz", "w:gz") as archive:
            info = tarfile.TarInfo("elsewhere")
            info.size = 200_000
            archive.addfile(info, io.BytesIO(bytes(200_000)))
    monkeypatch.setattr(archive_module, "MAX_BYTES", 100_000)
    with pytest.raises(RecordError, match=r"larger than 0\.0001 GB when unpacked"):
        unpack(path, tmp_path / "in")
    monkeypatch.setattr(archive_module, "MAX_BYTES", 10**6)
    monkeypatch.setattr(archive_module, "MAX_FILES", 0)
    with pytest.raises(RecordError, match="more than 0 files"):
        unpack(path, tmp_path / "in2")


@pytest.mark.parametrize("plan", ["[]", "{}", '{"parts": {}, "runs": [["x", {}, [], 0]]}', "[" * 90_000])
def test_a_plan_of_garbage_is_no_plan_and_the_records_stay(tmp_path: Path, plan: str) -> None:
    runs = store(tmp_path / "runs")
    (runs / "plan.json").write_text(plan)
    with pooled([runs]) as frame:
        assert frame.rows["done"].sum() == 4 and len(frame.rows) == 4


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("open /home/jane/data/x.csv failed", "open [path] failed"),
        ("'/srv/my data/x.csv' is not there", "'[path]' is not there"),
        (r"C:\Users\jane\x.csv and \\server\share\x", "[path] and [path]"),
        ("~/data/x.csv, ~jane/x", "[path], [path]"),
        ("file:///home/jane/x", "[path]"),
        ("Authorization: Bearer abc.def-0123", "Authorization: Bearer [secret]"),
        ("HF_TOKEN=hunter2222 password: swordfish", "HF_TOKEN=[secret] password: [secret]"),
        ("https://me:pw@host.example/x", "https://[secret]@host.example/x"),
        ("write to jane.doe@lab.example.org", "write to [address]"),
    ],
)
def test_the_scrubber_masks(text: str, masked: str) -> None:
    assert scrub_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "https://archive.ics.uci.edu/dataset/80, as carried by scikit-learn (896 images of 8 x 8)",
        "Beyond LoRA, arXiv:2606.13767, cLA; W[:, 0…r-1] = W0[:, 0…r-1] + s·B",
        "harness/models/vit_micro.py",
        "distilbert/distilroberta-base",
        "r(in + out) and/or 1/s, 5 %/epoch",
        "2026-11-25T17:23:23+00:00",
        "Yes/No? /think",
    ],
)
def test_the_scrubber_leaves_other_words(text: str) -> None:
    assert scrub_for(["node1"])(text) == text


def test_the_verbs_bundle_pool_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, other = store(tmp_path / "here"), elsewhere(store(tmp_path / "there"))
    assert call("bundle", ["four", str(tmp_path / "a.zip"), "--runs", str(runs)]) == 0
    assert "4 records with their test predictions." in capsys.readouterr().out
    assert call("pool", [str(tmp_path / "a.zip"), str(other), "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert "Pooled from a (4 records), there (4 records)" in out and "2 environments" in out
    page = (tmp_path / "report" / "pool" / "index.html").read_text()
    assert "Done in several environments" in page and str(tmp_path) not in page
