"""`peftlab explain RUN --cost`, on records written by hand: every number follows from them."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from harness.__main__ import main
from harness.cli.cost_view import print_cost, sentences
from harness.cli.run_cost import run_cost
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import NOT_COMPARABLE, RECORD_VERSION, Failure, Record
from harness.ledger.store import Store

LORA, FULL = "a" * 16, "b" * 16


def record(run_id, method, train, gflop, saved, **spec):
    """40 steps of one cell, and 30 s around them."""
    parts = {"method": {"name": method}, "model": {"name": "m"}, "dataset": {"name": "d"}, "recipe": {"lr": train}}
    seconds = {"setup": 5.0, "train": train, "eval": 20.0, "checkpoint": 0.0, "log": 5.0, "wall": 30.0 + train}
    return Record(
        schema=RECORD_VERSION, id=run_id, spec=parts | {"seed": 0} | spec, status="done", failure=None, selected={},
        scores={}, speed={}, memory={}, parameters={}, curve=(), data={}, links=(), provenance={"fingerprint": "here"},
        seconds={clock: Measured(value, "s") for clock, value in seconds.items()},
        ledger={"weights": Measured(100e6, "byte"), "saved_for_backward": Measured(saved, "byte")},
        work={"flops_per_step": Measured(1e9 * gflop, "FLOP"), "steps": Measured(40.0, "step")},
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """LoRA's run of 500 ms a step, and full fine-tuning's of 400, 800 and 1,000."""
    store = Store(tmp_path / "runs")
    for folder in (LORA, "f" * 16, *(f"{number}{FULL[1:]}" for number in range(3))):
        (store.root / folder).mkdir(parents=True)
    store.write(record(LORA, "lora", 20.0, 90.0, 300e6))
    for number, train in enumerate((16.0, 32.0, 40.0)):
        store.write(record(f"{number}{FULL[1:]}", "full", train, 120.0, 700e6, seed=number))
    return store


def test_a_steps_time_is_its_flops_times_the_time_of_each_beside_the_median_of_the_other_method(store):
    cost = run_cost(LORA, store)
    assert cost.clocks == {"setup": 5.0, "train": 20.0, "eval": 20.0, "checkpoint": 0.0, "log": 5.0}
    (full,) = cost.others
    assert (full.method, full.runs, full.ms, full.gflop, full.bytes) == ("full", 3, 800.0, 120.0, 800e6)
    own, beside, last = sentences(cost)
    assert own == "A step computes 90 GFLOP in 500 ms: 180 GFLOP/s."  # 90 / .5
    # 500 / 800 = .625 of the time; 90 / 120 = .75 of the FLOP, of which each takes .625 / .75 = .83 of the time
    assert beside.startswith("Its step takes 0.62 × that of full: 0.75 × the FLOP, each in 0.83 × the time.")
    assert beside.endswith("It holds 0.50 × the bytes (-400 MB, most of it saved for the backward pass).")
    assert "chance" in last


@pytest.mark.parametrize(
    "changes",
    [{"provenance": {"fingerprint": "elsewhere"}}, {"notes": (NOT_COMPARABLE + "busy",)},
     {"spec": record(FULL, "full", 1.0, 1.0, 1.0, dataset={"name": "other"}).spec},
     {"spec": record(FULL, "full", 1.0, 1.0, 1.0, source={"method": {"name": "lora"}}).spec}],
)  # fmt: skip
def test_what_cannot_be_compared_does_not_stand_beside_it(store, changes):
    store.write(replace(record("f" * 16, "cla", 1.0, 1.0, 1.0), **changes))
    assert [other.method for other in run_cost(LORA, store).others] == ["full"]


def test_a_run_whose_own_times_are_marked_has_none_beside_it_and_says_why(store):
    store.write(replace(record("f" * 16, "cla", 1.0, 1.0, 1.0), notes=(NOT_COMPARABLE + "busy",)))
    cost = run_cost("f" * 16, store)
    assert not cost.others and any("not comparable" in said and "busy" in said for said in sentences(cost))


def test_what_was_not_measured_is_no_number(store):
    none = NotMeasured("as this test wants")
    bare = record("f" * 16, "cla", 1.0, 1.0, 1.0)
    store.write(replace(bare, work={}, ledger={"weights": none}, seconds=bare.seconds | {"eval": none}))
    cost = run_cost("f" * 16, store)
    assert "eval" not in cost.clocks and cost.own.ms is None and cost.own.bytes == 0
    assert not [said for said in sentences(cost) if "step" in said]


def test_it_is_shown_in_80_columns_and_as_json(store, capsys):
    out = io.StringIO()
    print_cost(run_cost(LORA, store), Console(file=out, width=80))
    said = out.getvalue()
    assert "evaluation" in said and "40%" in said and "…" not in said  # 20 of 50 s
    assert main(["explain", LORA, "--cost", "--json", f"runs={store.root}"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["own"]["bytes"] == 400e6 and answer["others"][0]["runs"] == 3 and len(answer["sentences"]) == 3


def test_a_failed_run_and_one_without_a_record_are_a_sentence(store, capsys):
    failure = Failure("oom", "train", 3, "no room", "")
    store.write(replace(record("f" * 16, "cla", 1.0, 1.0, 1.0), status="failed", failure=failure))
    assert main(["explain", "f" * 16, "--cost", f"runs={store.root}"]) == 2
    assert "failed: its cost is that of no training" in capsys.readouterr().err
    assert main(["explain", "method=lora", "model=vit_micro", "dataset=digits", "--cost", f"runs={store.root}"]) == 2
    assert "has no record" in capsys.readouterr().err
