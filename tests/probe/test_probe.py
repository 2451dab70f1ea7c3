"""The probe: requests refused in one sentence, counts that equal a hand count, ratios that survive drift."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.cli.arguments import call
from harness.cli.probe import print_probe
from harness.ledger.errors import SpecError
from harness.ledger.quantity import Measured
from harness.measure.contention import MOST_LOST, Contention
from harness.planning.history import past_probes
from harness.probe import run as probe_run
from harness.probe.backbone import build_backbone
from harness.probe.request import Options, read_request
from harness.probe.result import EntrantRow, Probe, Round, paired_ratio, probe_to_json
from harness.probe.run import probe

BATCH, LENGTH = 4, 8
WIDTH, INNER, LAYERS = 64, 128, 2  # of every family at size=tiny
SMALL = ["model=minilm", "model.size=tiny", f"batch={BATCH}", f"length={LENGTH}", "steps=2", "rounds=2", "warmup=1"]


def _probe(*words: str) -> Probe:
    return probe(read_request([*words, *SMALL, "targets=all"]))


@pytest.fixture(scope="module")
def found() -> Probe:
    return _probe("method=lora,cla,asym,full")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bath=4"], "bath: unknown key of the probe. Did you mean 'batch'"),
        (["method=lroa"], "method: unknown choice 'lroa'. Did you mean 'lora'"),
        (["length=1,2"], "length=1,2: one value is needed"),
        (["batch=many"], "probe.batch: 'many' is not a whole number"),
        (["steps=3", "rounds=4"], "rounds at most steps"),
        (["model=minilm,vit_micro"], "only `method` may be a list"),
        (["layers=0"], "probe.layers: 0 is not a number at least 1"),
        (["warmup=-1"], "probe.warmup: -1 is not a number at least 0 and at most 1000000"),
        (["model=roberta_base", "layers=999"], "layers: 999 is more than roberta_base has; a number from 1 to 12"),
        (["model=minilm", "targets=[q,gate]"], "targets: minilm has no 'gate'."),
    ],
)
def test_a_wrong_word_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        read_request(words)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_targets_reach_every_method_that_has_targets() -> None:
    both = read_request(["method=lora,cla", "model=minilm", "targets=[q,up]"])
    assert [method.targets for method in both.methods] == [("q", "up"), ("q", "up")]
    every = read_request(["method=lora", "model=minilm", "targets=all"])
    assert every.methods[0].targets == tuple(every.model.targets)
    own = read_request(["method=lora", "model=minilm", "method.update.rank=4"])
    assert own.methods[0].targets == ("q", "v") and own.methods[0].update.rank == 4


def test_twins_share_the_memory_of_the_weights_and_nothing_else() -> None:
    request = read_request(SMALL)
    backbone = build_backbone(request.model, batch=2, length=4, layers=1, device="cpu", seed=0)
    one, two = backbone.twin(), backbone.twin()
    first, second = next(one.parameters()), next(two.parameters())
    assert first is not second and first.data_ptr() == second.data_ptr()
    one.requires_grad_(False)
    assert second.requires_grad and next(backbone.model.parameters()).requires_grad


def _blocks() -> tuple[int, int, int]:
    """FLOP of the linear modules of all blocks in one direction, of attention both ways, of the trained head."""
    linear = LAYERS * 2 * BATCH * LENGTH * (4 * WIDTH**2 + 2 * WIDTH * INNER)
    attention = LAYERS * (2 + 5) * 2 * BATCH * LENGTH**2 * WIDTH
    head = 3 * 2 * BATCH * (WIDTH**2 + 2 * WIDTH)  # pooler and classifier: forward, input and weight gradient
    return linear, attention, head


def _flops(found: Probe, name: str) -> float:
    row = found.row(name)
    assert row is not None
    return row.exact["flops_per_step"].value


def test_flops_of_the_floor_and_the_methods_agree_with_a_hand_count(found: Probe) -> None:
    linear, attention, head = _blocks()
    token, rank = 2 * BATCH * LENGTH, 16
    first_inputs = 3 * token * WIDTH**2  # q, k and v of the first block need no input gradient when nothing lies below
    rows, columns = LAYERS * (5 * WIDTH + INNER), LAYERS * (5 * WIDTH + INNER)  # of all six sites: out, in
    floor = 2 * linear + attention + head
    assert _flops(found, "floor") == floor
    assert _flops(found, "cla") == floor - first_inputs + token * rank * rows  # dB
    thin = token * rank * (3 * rows + 3 * columns) - 3 * token * rank * WIDTH  # Ax B(Ax) | gB (gB)A dA dB
    assert _flops(found, "lora") == floor - first_inputs + thin
    assert _flops(found, "peft_lora") == _flops(found, "lora")
    assert _flops(found, "full") == 3 * linear + attention + head


def test_a_column_update_keeps_the_selected_inputs_and_nothing_else(found: Probe) -> None:
    sites, selected = 6 * LAYERS, 4 * BATCH * LENGTH * 16
    saved = {name: found.row(name).exact["saved_for_backward"].value for name in ("floor", "cla", "asym", "peft_lora")}
    assert saved["floor"] < saved["cla"] <= saved["floor"] + sites * selected
    assert saved["asym"] < saved["peft_lora"]


def test_our_lora_and_that_of_peft_train_equally_many_parameters(found: Probe) -> None:
    ours, theirs = found.row("lora"), found.row("peft_lora")
    assert ours.exact["trainable"] == theirs.exact["trainable"]
    assert ours.exact["optimizer"].value == theirs.exact["optimizer"].value


def test_every_number_is_in_the_json_and_none_is_invented(found: Probe) -> None:
    plain = json.loads(json.dumps(probe_to_json(found), allow_nan=False))
    assert [row["name"] for row in plain["rows"]] == ["floor", "peft_lora", "peft_dora", "lora", "cla", "asym", "full"]
    for row in plain["rows"]:
        assert len(row["rounds"]) == 2 and row["speed"]["step_ms_median"]["n"] == 2
        assert row["memory"]["peak_allocated"] == {"why": "the run was on a CPU, which has no such counter"}
    assert plain["setting"]["dropout"] == "off" and plain["provenance"]["fingerprint"]


def test_a_method_that_cannot_be_attached_is_a_row_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    request = read_request(["method=cla", "method.update.rank=100000", "peft=false", *SMALL])
    found = probe(request)
    assert [row.name for row in found.rows] == ["floor", "cla"]
    assert "rank 100000" in found.rows[1].why and not found.rows[1].exact
    assert found.row("cla") is None and found.row("floor").rounds
    print_probe(found)
    assert "rank 100000" in capsys.readouterr().out


def test_the_end_of_a_link_is_measured_apart_and_none_is_in_a_step() -> None:
    found = _probe("method=c3la,cola,cla", "peft=false")
    ends = {row.name: row.speed.get("link_end_ms_median") for row in found.rows}
    assert ends["floor"] is None and ends["cla"] is None
    assert ends["c3la"].n == ends["cola"].n == probe_run.LINK_ENDS
    epochs = _probe("method=cola", "method.schedule.links=null", "method.schedule.every_epochs=3", "peft=false")
    assert [row.why for row in epochs.rows] == [None, None]


def test_a_text_longer_than_the_positions_of_a_model_is_one_sentence() -> None:
    with pytest.raises(SpecError, match="length=513: minilm has positions for 512 tokens"):
        probe(read_request(["method=cla", *SMALL, "length=513"]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(SpecError, match=r"device=cuda: PyTorch \S+ sees no CUDA device here; use device=cpu or auto"):
        probe(read_request(["method=cla", *SMALL, "device=cuda"]))


def _recording(name: str, steps: list[str]) -> Any:
    return SimpleNamespace(step=lambda: steps.append(name))


def test_every_round_has_every_entrant_in_an_order_of_its_own() -> None:
    steps: list[str] = []
    names = list("abcdef")
    options = Options(steps=8, rounds=8, warmup=1)
    builds = {name: lambda name=name: _recording(name, steps) for name in names}
    rounds = probe_run._timed(
        builds, {name: Contention("cpu") for name in builds}, options, torch.device("cpu"), lambda line: None
    )
    orders = [tuple(steps[i : i + 6]) for i in range(0, len(steps), 6)]
    assert len(orders) == 9 and all(sorted(order) == names for order in orders)
    assert len(set(orders)) > 4
    assert {name: len(found) for name, found in rounds.items()} == dict.fromkeys(names, 8)


def test_steps_are_shared_out_over_the_rounds() -> None:
    steps: list[str] = []
    options = Options(steps=7, rounds=3, warmup=2)
    builds = {"a": lambda: _recording("a", steps)}
    rounds = probe_run._timed(
        builds, {name: Contention("cpu") for name in builds}, options, torch.device("cpu"), lambda line: None
    )
    assert [len(one.ms) for one in rounds["a"]] == [3, 2, 2]


def test_an_entrant_that_runs_out_of_memory_leaves_and_the_others_go_on() -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("planted")

    steps: list[str] = []
    builds = {"large": lambda: SimpleNamespace(step=fail), "a": lambda: _recording("a", steps)}
    options = Options(steps=3, rounds=3, warmup=1)
    rounds = probe_run._timed(
        builds, {name: Contention("cpu") for name in builds}, options, torch.device("cpu"), lambda line: None
    )
    assert list(rounds) == ["a"] and len(rounds["a"]) == 3


def test_a_machine_that_slows_down_does_not_change_a_ratio() -> None:
    drift = np.linspace(1, 5, 12)
    ratio = paired_ratio(list(0.8 * drift), list(drift))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.8, 0.8, 0.8)) and ratio.n == 12


def test_the_interval_of_a_ratio_covers_the_truth_and_narrows_with_rounds() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        below = np.exp(rng.normal(0, 0.05, n))
        ratio = paired_ratio(list(0.9 * np.exp(rng.normal(0, 0.05, n))), list(below))
        assert ratio.low < 0.9 < ratio.high
        return ratio.high - ratio.low

    assert width(400) < width(10) / 2


def test_a_row_is_flagged_when_its_step_times_spread() -> None:
    def row(mad: float) -> EntrantRow:
        return EntrantRow("a", "A", speed={"step_ms_median": Measured(100, "ms"), "step_ms_mad": Measured(mad, "ms")})

    assert row(3.1).noisy and not row(2.9).noisy


def test_a_row_is_flagged_as_a_run_is_when_others_had_the_processor() -> None:
    def row(share: float) -> EntrantRow:
        return EntrantRow("a", "A", contention={"cpu_wait_share": Measured(share, "1")})

    assert row(MOST_LOST).why_not_comparable is None and not row(MOST_LOST).noisy
    assert "waited for a CPU" in str(row(MOST_LOST + 0.01).why_not_comparable)
    plain = probe_to_json(Probe({}, (row(0.5),), {}))["rows"][0]
    assert plain["noisy"] and "50%" in plain["why_not_comparable"]
    assert plain["contention"]["cpu_wait_share"]["value"] == 0.5


def test_times_of_the_process_and_of_the_wall_are_kept_apart() -> None:
    rows = (
        EntrantRow("floor", "F", rounds=(Round((10.0,), 10.0),) * 3),
        EntrantRow("a", "A", rounds=(Round((30.0,), 20.0),) * 3),
    )
    found = Probe({}, rows, {})
    assert found.time_ratio(rows[1], "floor").value == pytest.approx(3)
    assert found.time_ratio(rows[1], "floor", cpu=True).value == pytest.approx(2)
    assert found.time_ratio(rows[1], "peft_lora") is None


@pytest.mark.parametrize("model", ["gpt2_small", "vit_micro", "tinyllama", "deberta_v3_base"])
def test_every_family_can_be_probed(model: str) -> None:
    words = [
        "method=cla",
        f"model={model}",
        "model.size=tiny",
        "batch=2",
        "length=8",
        "steps=1",
        "rounds=1",
        "warmup=0",
    ]
    found = probe(read_request([*words, "peft=false"]))
    assert [row.why for row in found.rows] == [None, None]
    assert found.exact_ratio(found.row("cla"), "floor", "saved_for_backward") > 0


@pytest.mark.parametrize("model", ["minilm", "gpt2_small", "tinyllama", "vit_micro"])
def test_counts_need_no_weights_and_equal_those_of_a_real_step(model: str) -> None:
    words = ["method=full,head,lora,cla,asym", *SMALL, f"model={model}", "peft=false"]
    shapes, real = probe(read_request([*words, "counts=true"])), probe(read_request(words))
    for row, same in zip(shapes.rows, real.rows, strict=True):
        assert (row.name, row.why, row.exact) == (same.name, same.why, same.exact)
        assert not row.speed and not row.rounds
    assert shapes.row("full") is not None


def test_the_verb_prints_a_table_or_json_and_keeps_it_for_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PEFTLAB_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.probe.result.NOISY", 1e9)  # whatever else this machine does while tests run
    monkeypatch.setattr("harness.measure.contention.MOST_LOST", 1e9)
    words = ["method=head", *SMALL]
    assert call("probe", words) == 0
    table = capsys.readouterr().out
    assert "Head only" in table and "frozen floor" in table
    assert call("probe", [*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["name"] == "floor"
    rates = list(past_probes(tmp_path / "probes"))  # the second probe replaced the first: the setting is the same
    assert {rate.method for rate in rates} >= {"head", "floor"} and all(rate.flop_per_second > 0 for rate in rates)
    assert len(list((tmp_path / "probes").iterdir())) == 1
    monkeypatch.setattr("harness.measure.contention.MOST_LOST", -1.0)
    assert call("probe", words) == 0 and "~ Head only: its threads waited for a CPU" in capsys.readouterr().out
    assert not list(past_probes(tmp_path / "probes"))  # times that are not comparable are no rate
    assert call("probe", ["method=cla", "method.update.rank=100000", *words[1:], "--json"]) == 1
    with pytest.raises(SpecError, match="unknown flag '--jsn'"):
        call("probe", [*words, "--jsn"])


def test_the_benchmark_keeps_json_and_a_picture_and_judges_its_goals(
    found: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    step = importlib.import_module("step")
    monkeypatch.setattr(step, "RESULTS", tmp_path)
    path = step.keep(found, "tiny")
    plain = json.loads(path.read_bytes())
    assert "host" not in plain["provenance"] and path.with_suffix(".png").stat().st_size > 10_000
    saved = found.exact_ratio(found.row("cla"), "peft_lora", "saved_for_backward")
    line = next(line for line in plain["goals"] if "cla saved_for_backward ≤ 0.65" in line)
    assert f"{saved:.4f}" in line and line.startswith("met" if saved <= 0.65 else "MISSED")
    assert all(line.startswith("?") for line in step.verdicts(Probe({}, (), {})))
