"""On how many GPUs a run fits, against sums by hand."""

from dataclasses import replace

import pytest

from harness.cli.fit_notes import fit_notes
from harness.planning.estimate import CostEstimate
from harness.planning.fit import Fit, Gpus, fit, gpus_of, per_gpu
from harness.planning.step_cost_cache import StepCost

BLOCK, REST = 1e9, 2e9  # of weights that are shared: the largest block, and what is in none
STATE = {"weights": 32e9, "adapter": 0.0, "gradients": 32e9, "optimizer": 64e9}
FULL = {**STATE, "saved_for_backward": 16e9}
LOW_RANK = {"weights": 140e9, "adapter": 1e9, "gradients": 1e9, "optimizer": 2e9, "saved_for_backward": 8e9}
ONES = "recipe.batch_size=1 recipe.accumulate=16"


def spec(kind, quantization=None, batch=8, checkpointing=False):
    return {
        "method": {"update": {"kind": kind}},
        "model": {"quantization": quantization},
        "recipe": {"batch_size": batch, "accumulate": 2, "gradient_checkpointing": checkpointing},
    }


def counted(other):
    """What is kept for the backward pass falls with the micro-batch, and to a quarter with checkpointing."""
    ledger = LOW_RANK if other["method"]["update"]["kind"] == "low_rank" else FULL
    kept = ledger["saved_for_backward"] * other["recipe"]["batch_size"] / 8
    if other["model"]["quantization"]:
        assert other["model"] in ({"quantization": "nf4", "double_quantization": True}, {"quantization": "nf4"})
        ledger = ledger | {"weights": 38e9}
    kept = kept / 4 if other["recipe"]["gradient_checkpointing"] else kept
    return StepCost(ledger | {"saved_for_backward": kept}, 1.0, None, BLOCK, REST)


def test_state_is_shared_out_and_a_micro_batch_down_to_single_examples():
    assert per_gpu(1, spec("full"), counted) == pytest.approx(144)
    gathered = 2 * 1 + 2  # GB: the block at work and the next, and what is in no block
    gradients = 1 + 2
    assert per_gpu(4, spec("full"), counted) == pytest.approx(128 / 4 + 16 / 4 + gathered + gradients)
    assert per_gpu(4, spec("full", batch=1), counted) == pytest.approx(128 / 4 + 2 + gathered + gradients)
    assert per_gpu(16, spec("full"), counted) == pytest.approx(128 / 16 + 16 / 8 + gathered + gradients)
    assert per_gpu(4, spec("low_rank"), counted) == pytest.approx(140 / 4 + 4 + 8 / 4 + gathered)  # an adapter is whole


def test_finished_links_are_whole_on_every_gpu_and_beside_no_weight_that_can_be_written():
    def with_links(other):
        return replace(counted(other), beside=3e9)

    alone, shared = per_gpu(1, spec("low_rank"), with_links), per_gpu(4, spec("low_rank"), with_links)
    assert (alone, shared) == (per_gpu(1, spec("low_rank"), counted), per_gpu(4, spec("low_rank"), counted) + 3)


def test_casts_of_weights_are_whole_on_every_gpu():
    def with_casts(other):
        return replace(cost := counted(other), bytes={**cost.bytes, "saved_for_backward": 5e9})  # of any number of rows

    assert per_gpu(8, spec("full"), with_casts) == pytest.approx(128 / 8 + 5 + 7)


@pytest.mark.parametrize(
    ("run", "gpus", "expected"),  # packed weights are not sharded
    [
        (spec("full"), Gpus(90, 8, None), Fit(2, 79.0, "sharding over 2 GPUs")),
        (spec("full"), Gpus(200, 8, None), Fit(1, 144.0)),
        (spec("full"), Gpus(16, 4, None),
         Fit(None, 43.0, "it takes one GPU of 160 GB, or cluster.gpus_per_run=32 of 16 GB")),
        (spec("full"), Gpus(46, 4, None),
         Fit(None, 43.0, "recipe.gradient_checkpointing=true needs 4 GPUs of 40.0 GB")),
        (spec("full"), Gpus(146, 1, None),
         Fit(None, 144.0, f"recipe.gradient_checkpointing=true {ONES} needs one GPU of 128.5 GB")),
        (spec("full", checkpointing=True), Gpus(145, 1, None),
         Fit(None, 132.0, f"{ONES} needs one GPU of 128.5 GB")),
        (spec("low_rank"), Gpus(80, 1, None),
         Fit(None, 152.0, "model.quantization=nf4 model.double_quantization=true needs one GPU of 50.0 GB")),
        (spec("low_rank", "nf4"), Gpus(40, 8, None), Fit(None, 50.0, "it takes one GPU of 56 GB")),
    ],
)  # fmt: skip
def test_the_least_number_of_gpus_is_found_or_what_would_help(run, gpus, expected):
    judged = fit(counted(run), run, gpus, counted)
    assert judged is not None
    assert (judged.gpus, judged.remedy) == (expected.gpus, expected.remedy)
    assert judged.gigabytes == pytest.approx(expected.gigabytes)


def test_a_card_that_says_nothing_of_memory_judges_nothing():
    assert gpus_of({"kind": "local"}) == Gpus(None, 1, None)
    assert fit(counted(spec("full")), spec("full"), gpus_of({}), counted) is None


def test_a_plan_says_what_fits_what_would_and_the_price():
    def cell(method, runs, fit):
        choices = {"method": method, "model": "m", "dataset": "d"}
        return CostEstimate(choices, runs, {}, "", 0.0, 3600.0, 7200.0, "", fit)

    cells = [cell("lora", 3, Fit(1, 20.0)), cell("full", 2, Fit(4, 36.0, "sharding over 4 GPUs")),
             cell("dora", 1, Fit(None, 90.0, "try more"))]  # fmt: skip
    assert fit_notes(cells, 2.5) == [
        "cells that fit one GPU: 1, with 20.0 to 20.0 GB",
        "method=full model=m dataset=d: needs sharding over 4 GPUs, 36.0 GB on each (parallel=fsdp processes=4)",
        "method=dora model=m dataset=d: impossible, 90.0 GB on each of the most GPUs that a run may take; try more",
        "price of 5 of 6 runs: 25.00 (10.0 GPU-hours at 2.5)",
    ]
    assert fit_notes(cells, None)[-1] == "GPU-hours of 5 of 6 runs: 10.0"
    assert fit_notes([cell("lora", 3, None)], None) == [], "nothing is known of the GPUs"
    timeless = replace(cell("lora", 3, Fit(1, 20.0)), wall_seconds=None)
    assert fit_notes([timeless], 2.5)[-1] == "price and GPU-hours: not known, as no run's time is"
