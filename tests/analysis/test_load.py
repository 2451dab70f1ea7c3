"""From plan and records to one frame: complete or refused, environments apart, cached and never stale."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis import cache
from analysis.columns import COLUMNS
from analysis.load import load
from harness.ledger.errors import PlanError, RecordError
from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.plan import read_plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store
from tests.rewrite import rewrite


def test_a_complete_sweep_is_one_row_per_planned_run(written) -> None:
    frame = analysis.load("tiny", written())
    assert len(frame.rows) == 4 * 2 * 3
    assert set(frame.rows["status"]) == {"done"}
    assert frame.methods == ("Full fine-tuning", "Head only", "LoRA", "cLA")
    assert frame.control == "LoRA"
    assert frame.margin == 1.0


def test_every_declared_column_holds_what_the_record_says(written) -> None:
    """Independent: the values are read again through the ledger's own Record."""
    runs = written()
    frame = load("tiny", runs)
    for row in frame.rows.to_dict("records"):
        record = Store(runs).read(row["id"])
        for column in COLUMNS:
            section, *path = column.source.format(metric=record.spec["dataset"]["metric"]).split(".")
            found = getattr(record, section)
            for word in path:
                found = found.get(word)
            if isinstance(found, Measured):
                assert row[column.name] == found.value, column.name
            else:
                assert np.isnan(row[column.name])
                assert found is None or json.loads(row["absent"])[column.name] == found.why


def test_a_hole_is_refused_by_name(written) -> None:
    runs = written(missing=(("cla", "minilm", "mrpc", 1),))
    with pytest.raises(RecordError, match=r"1 of 24 planned runs .*cLA Minilm / MRPC seed 1.*--partial"):
        load("tiny", runs)


def test_a_hole_is_shown_when_asked_for(written) -> None:
    frame = load("tiny", written(missing=(("cla", "minilm", "mrpc", 1),)), partial=True)
    assert (frame.rows["status"] == "missing").sum() == 1
    assert "1 of 24" in frame.notes[0]


def test_a_failed_run_is_a_record_and_no_hole(written) -> None:
    frame = load("tiny", written(fail=(("lora", "minilm", "mrpc", 0),)))
    row = frame.rows[frame.rows["status"] == "failed"].iloc[0]
    assert np.isnan(row["score"])
    assert row["reason"].startswith("failed: oom in train at step 3")


def test_a_skipped_cell_keeps_its_sentence(written) -> None:
    frame = load("tiny", written(skipped=(("cla", "minilm", "mrpc", "no columns there"),)))
    row = frame.rows[frame.rows["status"] == "skipped"].iloc[0]
    assert (row["label"], row["block"]) == ("cLA", "Minilm / MRPC")
    assert row["reason"] == "skipped: no columns there"


def test_an_unknown_sweep_names_the_known_ones(written) -> None:
    with pytest.raises(PlanError, match="planned so far: tiny"):
        load("tinny", written())


def other_environment(record: Record) -> Record:
    if record.spec["seed"] != 2:
        return record
    return replace(record, provenance={**record.provenance, "fingerprint": "0ther000"})


def test_environments_are_not_pooled_unless_asked(written) -> None:
    runs = written(edit=other_environment)
    with pytest.raises(RecordError, match="2 environments"):
        load("tiny", runs)
    frame = load("tiny", runs, allow_mixed=True)
    assert len(frame.blocks) == 4
    assert {name.split(" @ ")[1] for name in frame.blocks} == {"f00dfeed", "0ther000"}


def test_a_damaged_record_is_a_hole_with_its_file(written) -> None:
    runs = written()
    victim = next(runs.glob("*/record.json"))
    victim.write_text('{"schema": 1, "id"')
    frame = load("tiny", runs, partial=True)
    row = frame.rows[frame.rows["id"] == victim.parent.name].iloc[0]
    assert row["status"] == "damaged"
    assert "delete it to run again" in row["reason"]


def test_a_record_in_another_unit_is_refused(written) -> None:
    def in_seconds(record: Record) -> Record:
        return replace(record, speed={**record.speed, "step_ms_median": Measured(0.2, "s")})

    with pytest.raises(RecordError, match="step_ms is in 's', declared in 'ms'"):
        load("tiny", written(edit=in_seconds))


def test_a_record_of_a_newer_version_is_a_hole_with_its_sentence_and_only_that_one(written) -> None:
    def newer(record: Record) -> Record:
        return replace(record, schema=99) if record.spec["seed"] == 2 else record

    runs = written(edit=newer)
    with pytest.raises(RecordError, match=r"8 of 24 planned runs .* version 99 is of a newer peftlab"):
        load("tiny", runs)
    rows = load("tiny", runs, partial=True).rows
    assert set(rows["seed"][rows["status"] == "damaged"]) == {2} and (rows["status"] == "done").sum() == 16


def test_a_record_of_version_one_is_read_as_one_of_today(written) -> None:
    def data(word: str):
        facts = {"splits": {"validation": {"n": 8, word: 0.5, "from": "train"}}}
        return lambda record: replace(record, data=facts, schema=1 if word == "shortened" else RECORD_VERSION)

    old, new = (load("tiny", written(edit=data(word))).rows for word in ("shortened", "truncated"))
    assert list(old["split"]) == list(new["split"]), "equal data facts, whoever wrote them"


def test_the_second_read_opens_no_record(written, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = written()
    first = load("tiny", runs)
    monkeypatch.setattr(cache.flatten, "read_flat", lambda path: pytest.fail(f"opened {path}"))
    second = load("tiny", runs)
    assert second.rows.equals(first.rows)
    assert second.curves.equals(first.curves)


def test_a_changed_record_is_read_again_and_only_that_one(written, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = written()
    load("tiny", runs)
    record = next(iter(Store(runs).records()))
    metric = record.spec["dataset"]["metric"]
    rewrite(runs, replace(record, scores={**record.scores, "test": {metric: Measured(0.5, "", 500)}}))
    opened, real = [], cache.flatten.read_flat
    monkeypatch.setattr(cache.flatten, "read_flat", lambda path: (opened.append(path.parent.name), real(path))[1])
    frame = load("tiny", runs)
    assert opened == [record.id]
    assert frame.rows.set_index("id").loc[record.id, "score"] == 0.5
    assert frame.curves["id"].nunique() == len(frame.rows)


def test_a_deleted_record_leaves_the_cache(written) -> None:
    runs = written()
    load("tiny", runs)
    (runs / read_plan(runs, "tiny").ids[0] / "record.json").unlink()
    frame = load("tiny", runs, partial=True)
    assert (frame.rows["status"] == "missing").sum() == 1


def test_a_broken_cache_is_only_a_cache(written) -> None:
    runs = written()
    first = load("tiny", runs)
    for path in (runs / ".analysis").iterdir():
        path.write_bytes(b"no parquet")
    assert load("tiny", runs).rows.equals(first.rows)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write there: by its mode or, as root heeds none, by a mount."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        return
    try:
        for words in (["--bind", folder], ["-o", "remount,bind,ro"]):
            mounted = subprocess.run(["mount", *words, folder], capture_output=True, text=True)
            if mounted.returncode:
                pytest.skip(f"no mounts here: {mounted.stderr.strip()}")
        yield
    finally:
        subprocess.run(["umount", folder], stderr=subprocess.DEVNULL)


def test_a_read_only_archive_is_read_without_a_cache(written) -> None:
    runs = written()
    with read_only(runs):
        assert len(load("tiny", runs).rows) == 24
    assert not (runs / ".analysis").exists()


def test_methods_with_one_label_are_told_apart(written) -> None:
    frame = load("tiny", written(labels={"lora": "Same", "cla": "Same"}))
    assert frame.methods[2:] == ("Same (lora)", "Same (cla)")


def test_datasets_with_one_label_share_no_block(written) -> None:
    frame = load("tiny", written(labels={"mrpc": "Same", "trec50": "Same"}))
    assert sorted(frame.blocks) == ["Minilm / Same (mrpc)", "Minilm / Same (trec50)"]


def test_the_runs_folder_may_be_named_as_text(written) -> None:
    assert len(load("tiny", str(Path(written()))).rows) == 24


def test_memory_of_a_step_is_the_ledger_on_a_cpu_and_what_was_allocated_on_a_gpu(written) -> None:
    def on_gpu(record: Record) -> Record:
        return replace(record, memory={**record.memory, "train_peak_allocated": Measured(123e9, "byte")})

    on_cpu, gpu = (load("tiny", written(edit=edit)).rows for edit in (lambda record: record, on_gpu))
    roles = ["weights_bytes", "adapter_bytes", "gradients_bytes", "optimizer_bytes", "saved_bytes"]
    assert (on_cpu["step_bytes"] == on_cpu[roles].sum(axis=1)).all()
    assert (gpu["step_bytes"] == 123e9).all() and (gpu[roles].sum(axis=1) < 123e9).all()


def test_a_record_of_an_earlier_version_has_no_mark_and_says_so(written) -> None:
    frame = load("tiny", written(edit=lambda record: replace(record, contention={})))
    assert frame.rows["contention.marked"].isna().all()
    assert "not in the record" in json.loads(frame.rows["absent"].iloc[0])["contention.marked"]


def test_seeds_of_a_random_model_are_one_comparison(written) -> None:
    def tiny(record: Record) -> Record:
        return replace(record, data={**record.data, "model_revision": f"random:{record.spec['seed']}"})

    assert load("tiny", written(edit=tiny)).rows["split"].nunique() == 2  # one for each dataset


def test_two_sweeps_are_one_comparison(tmp_path: Path, study_writer) -> None:
    """A run of both is there once; of two sweeps that differ in their margin the comparison has none."""
    again = tuple(("lora", "minilm", "mrpc", seed) for seed in (0, 1, 2))  # planned by both, written by the first
    about = {"title": "First", "control": "lora", "margin": 1.0}
    common = {"blocks": (("minilm", "mrpc"),)}
    study_writer(tmp_path, name="a", methods=("lora", "head"), about=about, **common)
    study_writer(tmp_path, name="b", methods=("cla", "lora"), about=about | {"margin": 2.0}, missing=again, **common)
    frame = load(["a", "b"], tmp_path)
    assert (frame.name, frame.title, frame.control, frame.margin) == ("a+b", "First", "LoRA", None)
    assert set(frame.methods) == {"LoRA", "Head only", "cLA"}
    assert (len(frame.rows), set(frame.rows["status"])) == (9, {"done"})
