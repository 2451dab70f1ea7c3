"""On how many GPUs a run fits, against sums by hand."""

import pytest

from harness.cli.fit_notes import fit_notes
from harness.planning.estimate import CostEstimate
from harness.planning.fit import Fit, Gpus, fit, gpus_of, per_gpu

STATE = {"weights": 32e9, "adapter": 0.0, "gradients": 32e9, "optimizer": 64e9}
FULL = {**STATE, "saved_for_backward": 16e9}
LOW_RANK = {"weights": 140e9, "adapter": 1e9, "gradients": 1e9, "optimizer": 2e9, "saved_for_backward": 8e9}


def spec(kind, quantization=None, batch=8, checkpointing=False):
    return {
        "method": {"update": {"kind": kind}},
        "model": {"quantization": quantization},
        "recipe": {"batch_size": batch, "gradient_checkpointing": checkpointing},
    }


def packed(other):
    assert other["model"]["quantization"] == "nf4" and other["model"]["double_quantization"]
    return LOW_RANK | {"weights": 38e9}


def never(other):
    raise AssertionError("nothing else need be counted")


def test_state_is_shared_out_and_a_micro_batch_down_to_single_examples():
    assert per_gpu(FULL, 1, 8, True) == pytest.approx(144)
    assert per_gpu(FULL, 4, 8, True) == pytest.approx(128 / 4 + 16 / 4)
    assert per_gpu(FULL, 4, 1, True) == pytest.approx(128 / 4 + 16)
    assert per_gpu(LOW_RANK, 4, 8, False) == pytest.approx(140 / 4 + 4 + 8 / 4)  # an adapter is whole


@pytest.mark.parametrize(
    ("ledger", "run", "gpus", "expected"),
    [
        (FULL, spec("full"), Gpus(80, 8, None), Fit(2, 72.0, "sharding over 2 GPUs")),
        (FULL, spec("full"), Gpus(200, 8, None), Fit(1, 144.0)),
        (FULL, spec("full", checkpointing=True), Gpus(16, 4, None),
         Fit(None, 36.0, "try a smaller recipe.batch_size, or more or larger GPUs")),
        (LOW_RANK, spec("low_rank"), Gpus(80, 1, None),
         Fit(None, 152.0, "model.quantization=nf4 model.double_quantization=true needs one GPU of 50.0 GB")),
    ],
)  # fmt: skip
def test_the_least_number_of_gpus_is_found_or_what_would_help(ledger, run, gpus, expected):
    judged = fit(ledger, run, gpus, packed if run["method"]["update"]["kind"] == "low_rank" else never)
    assert judged is not None
    assert (judged.gpus, judged.remedy) == (expected.gpus, expected.remedy)
    assert judged.gigabytes == pytest.approx(expected.gigabytes)


def test_packed_weights_are_not_sharded():
    judged = fit(LOW_RANK, spec("low_rank", "nf4"), Gpus(80, 8, None), never)
    assert judged is not None and judged.gpus is None and judged.remedy.startswith("try recipe.gradient_checkpointing")


def test_a_card_that_says_nothing_of_memory_judges_nothing():
    assert gpus_of({"kind": "local"}) == Gpus(None, 1, None)
    assert fit(FULL, spec("full"), gpus_of({}), never) is None


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
