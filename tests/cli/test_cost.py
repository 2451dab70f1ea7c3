"""`peftlab explain RUN --cost`: sums and ratios by hand, and no reason that the numbers do not support."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.cli.cost import candidates
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import NOT_COMPARABLE, Failure, read_record
from harness.ledger.store import Store

OLD = Path(__file__).parents[1] / "store_v1/runs"
RECORDS = [read_record(path) for path in sorted(OLD.glob("*/record.json"))]
(BASE,) = (
    r
    for r in RECORDS
    if r.spec["method"]["name"] == "lora" and r.spec["dataset"]["name"] == "digits" and not r.spec["seed"]
)
CLOCKS = {"setup": 10.0, "train": 60.0, "eval": 25.0, "checkpoint": 1.0, "log": 4.0}


def of(unit, **values):
    return {name: Measured(value, unit) for name, value in values.items()}


def made(letter, method="lora", seed=0, step=100.0, flop=1e9, train=60.0, optimizer=1000.0, **changed):
    """A record of one cell with numbers of round values; its id is sixteen times the letter."""
    spec = {
        **BASE.spec,
        "method": {**BASE.spec["method"], "name": method, "about": {"label": method.upper()}},
        "seed": seed,
    }
    record = replace(
        BASE,
        id=letter * 16,
        spec=spec,
        seconds=of("s", **(CLOCKS | {"train": train}), wall=40.0 + train, train_wasted=0.0),
        speed=of("ms", step_ms_median=step) | of("1", padding_share=0.0),
        ledger=of(
            "byte", weights=4000.0, adapter=500.0, gradients=500.0, optimizer=optimizer, saved_for_backward=4000.0
        ),
        work=of("FLOP", flops_per_step=flop) | of("step", steps=500.0),
    )
    return replace(record, **changed)


@pytest.fixture
def told(tmp_path, capsys):
    """told(run, *records): what the verb says of `run` in a store of these, as JSON."""

    def tell(run, *records):
        store = Store(tmp_path / "runs")
        for record in records:
            store.paths(record.id).folder.mkdir(parents=True)
            store.write(record)
            store.paths(record.id).spec.write_text(json.dumps(record.spec))
        assert main(["explain", run, "--cost", "--json", f"runs={store.root}"]) == 0
        return json.loads(capsys.readouterr().out)

    return tell


FULL = [
    made(letter, "full", seed, step=50.0 + seed, flop=2e9, train=30.0 + seed, optimizer=9000.0)
    for seed, letter in enumerate("def")
]


def test_where_the_time_and_the_bytes_went_adds_up(told):
    found = told("a", made("a"))
    assert found["numbers"]["seconds.running"] == 90.0 and found["numbers"]["ledger.total"] == 10_000.0
    assert (
        "Training is 60% of the wall time: 500 steps of 100 ms (the median) make 50.0 s, and it took 60.0 s."
        in found["reasons"]
    )
    assert any(reason.startswith("Evaluation is 25% of the wall time") for reason in found["reasons"])
    assert not any("Logging" in reason or "padding" in reason or "×" in reason for reason in found["reasons"])


def test_a_step_slower_than_its_flops_is_said_against_the_median_of_the_control(told):
    found = told("a", made("a"), *FULL)
    (control,) = found["controls"]
    assert control["numbers"]["speed.step_ms_median"] == {"median": 51.0, "low": 50.0, "high": 52.0, "runs": 3}
    said = " ".join(found["reasons"])
    assert "Its step takes 1.96 × FULL's (100 ms to 51.0 ms), more than each of its 3 runs." in said
    assert "0.50 × FULL's FLOPs (1 GFLOP to 2 GFLOP): at FULL's rate 25.5 ms, and it takes 74.5 ms more" in said
    assert (
        "After set-up it takes 1.48 × FULL's (90.0 s to 61.0 s); most of that difference is training (29.0 s more)."
        in said
    )
    assert "most of that difference is optimizer state (8.0 kB less)" in said


def test_a_step_that_follows_its_flops_needs_no_other_reason(told):
    said = " ".join(told("a", made("a", step=25.0), *FULL)["reasons"])
    assert "its step takes what that many take at FULL's rate" in said and "tells these apart" not in said


def test_a_time_among_the_controls_own_is_no_difference(told):
    said = " ".join(told("a", made("a", step=51.5, train=31.0), *FULL)["reasons"])
    assert "within its 3 runs (50.0 ms to 52.0 ms): no difference that they support" in said
    assert "After set-up" not in said and "at FULL's rate" not in said


def test_one_run_of_a_control_supports_no_claim(told):
    said = " ".join(told("a", made("a"), FULL[0])["reasons"])
    assert "of one run, which cannot say what is chance" in said and "After set-up" not in said


def test_marked_times_are_held_against_nothing(told):
    marked = (NOT_COMPARABLE + "its threads waited 40 % of the time",)
    found = told("a", made("a", notes=marked), *FULL)
    said = " ".join(found["reasons"])
    assert (
        "Its times are marked" in said and "Times are not held against FULL's" in said and "Its step takes" not in said
    )
    assert not [key for key in found["controls"][0]["numbers"] if key.startswith(("seconds", "speed"))]
    assert "FULL's bytes" in said


def test_marked_runs_of_the_control_leave_its_times(told):
    busy = replace(FULL[2], notes=(NOT_COMPARABLE + "busy",))
    control = told("a", made("a"), *FULL[:2], busy)["controls"][0]
    assert control["numbers"]["speed.step_ms_median"]["runs"] == 2 and control["numbers"]["ledger.total"]["runs"] == 3


def test_another_environment_cell_or_length_is_no_control(told):
    elsewhere = replace(FULL[0], provenance={**FULL[0].provenance, "fingerprint": "elsewhere"})
    other = replace(FULL[1], spec={**FULL[1].spec, "recipe": {**FULL[1].spec["recipe"], "batch_size": 7}})
    crashed = replace(FULL[2], status="failed", failure=Failure("oom", "train", 3, "no memory"))
    assert told("a", made("a"), elsewhere, other, crashed)["controls"] == []


def test_of_two_settings_of_lora_the_nearer_one_is_the_control(told):
    far = made("b")
    far = replace(
        far, spec={**far.spec, "method": {**far.spec["method"], "targets": ["q"], "update": {"kind": "else"}}}
    )
    assert told("a", made("a", "cla"), far, made("c"))["controls"][0]["ids"] == ["c" * 16]


def test_what_was_not_measured_has_no_row_and_no_reason(told):
    silent = dict.fromkeys(("step_ms_median", "padding_share"), NotMeasured("too short"))
    worker = BASE.seconds | of("s", **CLOCKS, wall=90.0) | {"setup": NotMeasured("paid by an earlier run")}
    found = told("a", made("a", speed=silent, seconds=worker, ledger={}), *FULL)
    assert not {"seconds.setup", "ledger.total", "speed.step_ms_median"} & set(found["numbers"])
    assert "Its step" not in " ".join(found["reasons"])


def test_a_record_of_the_first_version_is_readable_at_eighty_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", BASE.id, "--cost", f"runs={OLD}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("wall time") for line in lines) and max(map(len, lines)) <= 80


def test_a_run_without_a_record_is_one_sentence(tmp_path, capsys):
    words = ["method=lora", "model=vit_micro", "dataset=digits", f"runs={tmp_path / 'runs'}"]
    assert main(["explain", "--cost", *words]) == 2
    said = capsys.readouterr().err
    assert "has no record" in said and said.count("\n") == 1


def test_only_records_that_may_be_a_control_are_read(told, monkeypatch):
    read, elsewhere = [], {**BASE.spec, "dataset": {**BASE.spec["dataset"], "name": "elsewhere"}}
    monkeypatch.setattr(Store, "read", lambda self, run, _read=Store.read: read.append(run) or _read(self, run))
    records = [made("a", method="cla"), made("b"), made("c", method="cla", seed=1), made("d", method="full")]
    answer = told("a" * 16, *records, replace(made("e"), spec=elsewhere))
    assert sorted(set(read)) == ["a" * 16, "b" * 16, "d" * 16]
    assert [control["ids"] for control in answer["controls"]] == [["b" * 16], ["d" * 16]]


def test_a_run_whose_spec_file_cannot_be_read_is_asked_for_its_record(told, tmp_path):
    told("a" * 16, lora := made("a"), made("b", method="cla"), made("c"), made("d"))
    store = Store(tmp_path / "runs")
    store.paths("b" * 16).spec.unlink()
    store.paths("c" * 16).spec.write_text("torn")
    store.paths("d" * 16).spec.write_text("[]")
    assert candidates(lora, store) == [letter * 16 for letter in "abcd"]
