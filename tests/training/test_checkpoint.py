"""A saved state that is damaged is kept aside and the run starts anew; what a full disk breaks is no record."""

import errno
import json
import os
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import harness.training.loop as loop_module
import harness.training.run as run_module
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import DataError, NodeError
from harness.ledger.store import Store
from harness.measure.clocks import StepTimer
from harness.planning.plan import plan_one, read_request
from harness.training.context import Stopped
from harness.training.failures import failure_of, is_node_trouble
from harness.training.run import run_one

WORDS = (
    "model=vit_micro",
    "dataset=digits",
    "dataset.split.limit={train: 192, validation: 64, test: 64}",
    "recipe.max_steps=6",
    "recipe.evaluations=3",
    "tracker=none",
    "device=cpu",
)


@pytest.fixture
def begin(tmp_path, peftlab_cache):
    def plan(*words, store="runs"):
        request = read_request([*WORDS, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def stop_after(steps, planned, store, settings):
    """Leaves a checkpoint of that step."""
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked) >= steps)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 255  # inside the tensors: the file is well formed
    path.write_bytes(data)


def change(**facts):
    """Of state.json, as somebody who edits it by hand."""

    def damage(home):
        index = home.parent / "state.json"
        raw = json.loads(index.read_text()) | facts
        index.write_text(json.dumps({key: value for key, value in raw.items() if value != "gone"}))

    return damage


def unseal(**facts):
    """A whole state.json of the first version, which had no digests, with other facts."""
    return change(**{"sha256": "gone", "run": "gone", "files": "gone"} | facts)


def reshape(home):
    """Well-formed tensors that do not fit, in a checkpoint without digests."""
    tensors = load_file(home / "method.safetensors")
    save_file({name: torch.zeros(3, 5) for name in tensors}, home / "method.safetensors")
    unseal()(home)


def in_place_of(path, content=None):
    path.unlink()
    path.mkdir()
    if content:
        (path / "file").write_text(content)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def to_a_file(home):
    place = home.parent
    for path in home.iterdir():
        path.unlink()
    home.rmdir()
    (place / "state.json").unlink()
    place.rmdir()
    place.write_text("no folder")


DAMAGE = {
    "state.json cut": lambda home: cut(home.parent / "state.json"),
    "state.json empty": lambda home: (home.parent / "state.json").write_bytes(b""),
    "state.json not UTF-8": lambda home: (home.parent / "state.json").write_bytes(b"\xff\xfe{}"),
    "state.json a list": lambda home: (home.parent / "state.json").write_text("[1, 2]"),
    "state.json a folder": lambda home: in_place_of(home.parent / "state.json"),
    "a fact changed": change(loss_sum=1e9),
    "a fact gone": unseal(curve="gone"),
    "a fact of another type": unseal(step="many", clocks=[]),
    "a clock of another type": unseal(clocks={"seconds": {"train": None}, "wall": 1.0, "train_wasted": 0.0}),
    "a timer of another type": unseal(timer={"ms": 7}),
    "of other data": unseal(data="f" * 64),
    "another run's": change(run="f" * 16),
    "method cut": lambda home: cut(home / "method.safetensors"),
    "method garbage": lambda home: (home / "method.safetensors").write_bytes(b"garbage" * 100),
    "method one bit": lambda home: scribble(home / "method.safetensors"),
    "method gone": lambda home: (home / "method.safetensors").unlink(),
    "method of other shapes": reshape,
    "optimizer cut": lambda home: cut(home / "optimizer.pt"),
    "optimizer garbage": lambda home: (home / "optimizer.pt").write_bytes(b"garbage" * 100),
    "optimizer gone": lambda home: (home / "optimizer.pt").unlink(),
    "optimizer of another": lambda home: (torch.save({"state": 3}, home / "optimizer.pt"), unseal()(home)),
    "best cut": lambda home: cut(home / "best.safetensors"),
    "best gone": lambda home: (home / "best.safetensors").unlink(),
    "best a folder": lambda home: in_place_of(home / "best.safetensors", "x"),
    "the folder empty": empty,
    "a file in place of the folder": to_a_file,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, peftlab_cache):
    request = read_request([*WORDS, f"runs={tmp_path_factory.mktemp('calm')}", f"cache={peftlab_cache}", "method=cla"])
    settings = settings_from(request.config)
    return run_one(plan_one(request, Resolver()), Store(settings.runs), settings)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, peftlab_cache):
    """The folder of that run, stopped after four of its steps."""
    request = read_request([*WORDS, f"runs={tmp_path_factory.mktemp('halt')}", f"cache={peftlab_cache}", "method=cla"])
    planned, settings = plan_one(request, Resolver()), settings_from(request.config)
    stop_after(4, planned, store := Store(settings.runs), settings)
    return store.paths(planned.id).folder


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_kept_aside_and_the_run_starts_anew(begin, damage, stopped, undisturbed, capfd):
    planned, store, settings = begin("method=cla")
    folder = store.paths(planned.id)
    shutil.copytree(stopped, folder.folder)
    damage(folder.checkpoint / "step-4")
    record = run_one(planned, store, settings)
    assert (record.status, record.attempts) == ("done", 1)
    assert record.scores == undisturbed.scores and record.selected == undisturbed.selected
    assert [point.val for point in record.curve] == [point.val for point in undisturbed.curve]
    assert (folder.folder / "checkpoint.damaged").exists(), "nothing is lost"
    assert "kept as checkpoint.damaged" in capfd.readouterr().out
    events = [json.loads(line) for line in folder.events.read_text().splitlines()]
    assert [event["path"] for event in events if event["event"] == "aside"] == ["checkpoint.damaged"]


def test_a_checkpoint_of_the_first_version_which_has_no_digests_is_gone_on_from(begin, undisturbed):
    planned, store, settings = begin("method=cla")
    stop_after(4, planned, store, settings)
    unseal()(store.paths(planned.id).checkpoint / "step-4")
    record = run_one(planned, store, settings)
    assert record.attempts == 2 and record.scores == undisturbed.scores


def test_a_stopped_run_goes_on_with_all_that_it_had(begin, monkeypatch):
    """Stopped between two evaluations; the best checkpoint is one of the first attempt, and every step is timed."""
    monkeypatch.setattr(loop_module, "_better", lambda *given: False)
    monkeypatch.setattr(run_module, "StepTimer", lambda device: StepTimer(device, drop=0))
    straight = run_one(*begin("method=lora"))
    planned, store, settings = begin("method=lora", store="stopped")
    stop_after(3, planned, store, settings)
    assert (store.paths(planned.id).checkpoint / "step-3").is_dir()
    resumed = run_one(planned, store, settings)
    assert (straight.attempts, resumed.attempts) == (1, 2) and straight.selected["step"] == 2
    assert resumed.selected == straight.selected and resumed.scores == straight.scores
    points = [[(p.step, p.train_loss, p.lr, p.val) for p in record.curve] for record in (straight, resumed)]
    assert points[0] == points[1]
    assert resumed.work == straight.work
    assert resumed.speed["step_ms_median"].n == straight.speed["step_ms_median"].n == 6


def test_a_save_that_was_cut_off_is_no_damage(begin):
    planned, store, settings = begin("method=cla")
    stop_after(4, planned, store, settings)
    folder = store.paths(planned.id)
    (folder.checkpoint / "state.json").unlink()
    (folder.checkpoint / "step-2").write_text("a file where a folder belongs")
    assert run_one(planned, store, settings).status == "done"
    assert not (folder.folder / "checkpoint.damaged").exists()


def test_a_disk_that_fails_while_a_checkpoint_is_read_is_no_damage(begin, monkeypatch):
    planned, store, settings = begin("method=cla")
    stop_after(4, planned, store, settings)

    def fails(*given, **options):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("harness.training.checkpoint.load_file", fails)
        with pytest.raises(NodeError, match="Input/output error"):
            run_one(planned, store, settings)
    assert store.status(planned.id) == "unfinished"
    assert run_one(planned, store, settings).attempts == 2


@pytest.fixture
def full_disk(tmp_path):
    """A tmpfs of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no small tmpfs here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)  # torch leaves its file open


def torch_by_name(folder):
    torch.save({"a": torch.zeros(300_000)}, folder / "a.pt")


def torch_by_file(folder):
    with (folder / "a.pt").open("wb") as file:
        torch.save({"a": torch.zeros(300_000)}, file)


WRITERS = {
    "safetensors": lambda folder: save_file({"a": torch.zeros(300_000)}, folder / "a.safetensors"),
    "torch by name": torch_by_name,
    "torch by file": torch_by_file,
    "parquet": lambda folder: pq.write_table(pa.table({"a": list(range(300_000))}), folder / "a.parquet"),
    "python": lambda folder: (folder / "a").write_bytes(bytes(1 << 20)),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_the_nodes_trouble_whoever_writes(full_disk, writer):
    with pytest.raises(Exception) as caught:  # each library has its own
        writer(full_disk)
    assert is_node_trouble(caught.value)


def raised_from(cause, error):
    try:
        try:
            raise cause
        except Exception:
            raise error  # noqa: B904  as libraries do
    except Exception as caught:
        return caught


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS])
def test_a_disks_error_is_known_in_any_disguise(number):
    words = os.strerror(number)
    assert is_node_trouble(OSError(number, words))
    assert is_node_trouble(RuntimeError(f"Error while serializing: I/O error: {words} (os error {number})"))
    assert is_node_trouble(ValueError(f"cannot write: [Errno {number}] ?"))
    assert is_node_trouble(raised_from(OSError(number, words), RuntimeError("the writer failed")))
    assert is_node_trouble(ExceptionGroup("several", [ValueError("x"), OSError(number, words)]))


def test_what_the_run_itself_did_wrong_is_its_own_failure():
    lookup = raised_from(FileNotFoundError(errno.ENOENT, "no such file"), KeyError("label"))
    for error, kind in ((lookup, "exception"), (ValueError("os error 2"), "exception"), (DataError("row 3"), "data")):
        assert not is_node_trouble(error) and failure_of(error, "train", 3).kind == kind


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "denied"), ImportError("no module named sacrebleu")])
def test_a_run_that_this_machine_cannot_do_has_no_record_and_the_same_call_takes_it_up(begin, monkeypatch, error):
    planned, store, settings = begin("method=head")

    def fails(*given):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "test", fails)
        with pytest.raises(NodeError):
            run_one(planned, store, settings)
    assert store.status(planned.id) == "unfinished"
    assert '"event": "trouble"' in store.paths(planned.id).events.read_text()
    assert run_one(planned, store, settings).status == "done"
