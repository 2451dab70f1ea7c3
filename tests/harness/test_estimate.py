"""Estimates against what real runs recorded, and against parameter counts known from elsewhere."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from harness.__main__ import main
from harness.estimate import estimates
from harness.ledger.quantity import Measured
from harness.ledger.store import Store
from harness.plan import plan_one, plan_sweep, read_request
from harness.resolve import Resolver
from harness.run import run_one
from harness.settings import settings_from

WORDS = ("model=vit_micro", "dataset=digits", "recipe.epochs=1", "recipe.evaluations=1", "tracker=none", "device=cpu")
RESOLVER = Resolver()


def planned(*words):
    return plan_sweep(read_request(words), RESOLVER)


@pytest.fixture
def ran(tmp_path, peftlab_cache):
    """Do a run in the test's own store; its record."""

    def run(*words):
        request = read_request([*WORDS, f"runs={tmp_path}", f"cache={peftlab_cache}", *words])
        return run_one(plan_one(request, RESOLVER), Store(tmp_path), settings_from(request.config))

    return run


@pytest.fixture
def told(tmp_path):
    """Write a record like `record`, of another cell and another training time."""

    def write(record, run, seconds):
        other = replace(record, id=run.id, spec=run.spec, seconds={**record.seconds, "train": Measured(seconds, "s")})
        (tmp_path / run.id).mkdir(exist_ok=True)
        Store(tmp_path).write(other)
        return other

    return write


@pytest.mark.parametrize("method", ["lora", "cla", "asym", "full", "head"])
def test_the_ledger_on_paper_is_the_ledger_of_the_run(ran, tmp_path, method):
    record = ran(f"method={method}")
    (one,) = estimates(planned(*WORDS, f"method={method}"), Store(tmp_path))
    assert dict(one.ledger) == {role: quantity.value for role, quantity in record.ledger.items()}
    assert one.bytes == sum(quantity.value for quantity in record.ledger.values())


def test_eight_billion_parameters_are_counted_in_seconds(tmp_path):
    plan = planned("method=lora", "model=llama3_8b", "dataset=openbookqa", "recipe=study_llama3")
    start = time.perf_counter()
    (one,) = estimates(plan, Store(tmp_path))
    assert time.perf_counter() - start < 30  # on a busy machine, imports included
    without_lm_head = 8_030_261_248 - 128_256 * 4096  # published size; the classifier stands in the LM head's place
    assert one.ledger["weights"] == pytest.approx(2 * without_lm_head, rel=1e-4)
    assert one.ledger["adapter"] == 4 * 6_815_744  # study 2.2: r = 16 on q, v; float32
    assert (one.seconds, one.seconds_from) == (None, "no record yet")


def test_gradient_checkpointing_and_smaller_batches_need_less(tmp_path):
    words = ("method=lora", "model=roberta_base", "dataset=cola")
    asked = ("recipe.batch_size=16", "recipe.batch_size=8", "recipe.gradient_checkpointing=true")
    whole, half, again = (
        estimates(planned(*words, word), Store(tmp_path))[0].ledger["saved_for_backward"] for word in asked
    )
    assert half == pytest.approx(whole / 2, rel=0.02)
    assert again < whole / 4


def test_time_is_the_median_of_the_cells_own_records_before_anyone_elses(ran, told, tmp_path):
    plan = planned(*WORDS, "method=lora,cla", "seed=range(3)")
    lora, cla = ([run for run in plan.runs if run.choices["method"] == name] for name in ("lora", "cla"))
    record = ran("method=lora", "seed=0")
    for run, seconds in zip(lora, (10.0, 30.0, 20.0), strict=True):
        told(record, run, seconds)
    told(record, cla[0], 7.0)
    first, second = estimates(plan, Store(tmp_path))
    assert (first.seconds, first.seconds_from, first.runs) == (20.0, "3 records", 3)
    assert (second.seconds, second.seconds_from) == (7.0, "1 record")
    (other,) = estimates(planned(*WORDS, "method=asym", "recipe.lr=1e-5"), Store(tmp_path))
    assert (other.seconds, other.seconds_from) == (15.0, "4 records of other methods")


def test_without_a_record_of_the_task_time_is_scaled_by_flops(ran, tmp_path):
    record = ran("method=lora")
    (one,) = estimates(planned(*WORDS, "method=lora", "recipe.epochs=4"), Store(tmp_path))
    assert one.seconds == pytest.approx(4 * record.seconds["train"].value)
    assert one.seconds_from.startswith("FLOPs at full length") and one.seconds_from.endswith("of 1 record")


def test_a_failed_or_damaged_record_estimates_nothing(ran, tmp_path):
    record = ran("method=lora")
    path = Store(tmp_path).paths(record.id).record
    path.write_text(path.read_text()[:100])
    (one,) = estimates(planned(*WORDS, "method=lora"), Store(tmp_path))
    assert one.seconds is None and one.seconds_from == "no record yet"


def test_the_plan_verb_shows_estimates_when_asked_and_loads_no_torch_otherwise(tmp_path, capsys):
    words = [*WORDS, "method=lora,cla", f"runs={tmp_path}"]
    assert main(["plan", *words, "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["estimates"]
    assert [one["choices"]["method"] for one in found] == ["lora", "cla"]
    assert found[0]["bytes"] > found[1]["bytes"] > 0
    code = f"import sys; from harness.__main__ import main; main({['plan', *words]!r}); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("False\n")
