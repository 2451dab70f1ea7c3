"""Estimates against what real runs recorded, and against parameter counts known from elsewhere."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.distributed.tensor import DTensor

from harness.__main__ import main
from harness.cli.plan_view import print_plan
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.parse import parse
from harness.ledger.quantity import Measured
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure.memory_breakdown import storage_bytes
from harness.models.load import load_model
from harness.planning.compatible import longest_training
from harness.planning.estimate import PROBES, estimates
from harness.planning.history import keep_probe
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.planning.sharded_trial import in_two_processes
from harness.planning.step_cost import step_cost
from harness.training.run import run_one
from harness.training.sharding import attach
from methods.build import build
from methods.method import Progress
from tests.rewrite import rewrite

WORDS = ("model=vit_micro", "dataset=digits", "recipe.epochs=1", "recipe.evaluations=1", "tracker=none", "device=cpu")
RESOLVER = Resolver()


def planned(*words):
    return plan_sweep(read_request(words), RESOLVER)


@pytest.fixture
def ran(tmp_path, peftlab_cache):
    """Do a run in the test's own store; its record."""

    def run(*words):
        request = read_request([*WORDS, f"runs={tmp_path}", f"cache={peftlab_cache}", *words])
        store = Store(tmp_path)
        record = run_one(plan_one(request, RESOLVER), store, settings_from(request.config))
        rewrite(store.root, quiet := replace(record, notes=()))  # whatever else this machine does while tests run
        return quiet

    return run


@pytest.fixture
def told(tmp_path):
    """Write a record like `record`, of another cell and another training time."""

    def write(record, run, seconds):
        other = replace(record, id=run.id, spec=run.spec, seconds={**record.seconds, "train": Measured(seconds, "s")})
        (tmp_path / run.id).mkdir(exist_ok=True)
        rewrite(tmp_path, other)
        return other

    return write


@pytest.fixture
def needs(tmp_path, peftlab_cache):
    """The estimates of a plan, by the records of the test's own store."""
    return lambda *words: estimates(planned(*words), Store(tmp_path), peftlab_cache)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["lora", "cla", "asym", "paca", "full", "head"])
def test_the_ledger_on_paper_is_the_ledger_of_the_run(ran, tmp_path, method, precision, needs):
    words = (
        f"method={method}",
        f"recipe.precision={precision}",
        "recipe.max_steps=1",
    )  # a ViT has nothing that CUDA casts and a CPU does not
    record = ran(*words)
    (one,) = needs(*WORDS, *words)
    assert dict(one.ledger) == {role: quantity.value for role, quantity in record.ledger.items()}
    assert one.bytes == sum(quantity.value for quantity in record.ledger.values())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_adafactors_state_on_paper_is_that_of_the_run(ran, method, needs):
    words = (f"method={method}", "+recipe.optimizer=adafactor")
    record = ran(*words)
    on_paper, with_adamw = (needs(*WORDS, f"method={method}", *more)[0] for more in (words[1:], ()))
    assert on_paper.ledger["optimizer"] == record.ledger["optimizer"].value < with_adamw.ledger["optimizer"] / 2
    assert on_paper.ledger["gradients"] == with_adamw.ledger["gradients"]


def test_eight_billion_parameters_are_counted_without_weights(tmp_path, needs):
    (one,) = needs("method=lora", "model=llama3_8b", "dataset=openbookqa", "recipe=study_llama3")
    without_lm_head = 8_030_261_248 - 128_256 * 4096  # published size; the classifier stands in the LM head's place
    assert one.ledger["weights"] == pytest.approx(2 * without_lm_head, rel=1e-4)
    assert one.ledger["adapter"] == 4 * 6_815_744  # study 2.2: r = 16 on q, v; float32
    assert one.seconds is None and one.seconds_from.startswith("no record yet; ") and 1e17 < one.flops < 1e19


@pytest.mark.parametrize(("method", "size"), [("lora", 2), ("full", 4)])  # full fine-tuning: its float32 master copy
def test_what_sharding_gathers_is_the_largest_block_and_what_is_in_none(method, size):
    words = [f"method={method}", "model=llama3_8b", "dataset=openbookqa", "recipe=study_llama3"]
    spec = parse(RunSpec, planned(*words).runs[0].spec, "run")
    cost = step_cost(spec)
    block = 2 * 4096 * (4096 + 1024) + 3 * 4096 * 14336 + 2 * 4096  # q, o; k, v; the three of the MLP; two norms
    classifier = 4 * 4096 if method == "full" else 0  # trained whole beside an adapter
    assert cost.block == size * block and cost.rest == size * (128_256 * 4096 + 4096 + classifier)


@pytest.mark.parametrize(("chain", "one", "columns"), [("cola", "lora", None), ("c3la", "cla", (3 + 3 + 1) - 3)])
def test_a_chain_beside_packed_weights_is_counted_at_its_last_link(chain, one, columns, needs):
    words = ("model=roberta_base", "dataset=cola", "model.quantization=nf4")
    first, last = (needs(*words, f"method={name}")[0].ledger for name in (one, chain))
    sites, width, rank = 24, 768, 16
    link = sites * width * rank * 4  # bytes of a factor of every site; of three links, two are finished when one trains
    kept = 2 * 2 * link if columns is None else columns * link  # before, after, of this link: cla has one of each
    assert last["weights"] - first["weights"] == kept
    assert last["adapter"] == first["adapter"] and last["saved_for_backward"] > first["saved_for_backward"]


@pytest.mark.parametrize(("method", "adapters"), [("cola", 2), ("c3la", 3 + 3 + 1), ("cla", 1 + 1 + 1), ("lora", 0)])
def test_what_stays_beside_sharded_weights_is_counted_as_two_processes_hold_it(method, adapters, peftlab_cache):
    spec = parse(RunSpec, planned(*WORDS, f"method={method}").runs[0].spec, "run")
    training = longest_training(spec.dataset, spec.recipe)

    def trial(world):
        loaded = load_model(spec.model, spec.dataset.task, Seeds(0), peftlab_cache)
        own = build(spec.method, replace(loaded.layout, writable=False))
        attach(own, loaded.model, lambda *use: torch.Generator().manual_seed(0), False, torch.device("cpu"))
        own.begin(training)
        for step in range(1, training.total + 1):
            own.after_step(Progress(step, training.total, training.steps_per_epoch))
        held = [tensor for update in own.updates.values() for tensor in update.beside()]
        whole = not any(isinstance(tensor, DTensor) for tensor in held)
        return torch.tensor([storage_bytes(held), 4 * own.counts()["adapter"], world.size * whole])

    held, adapter, processes = in_two_processes(trial).tolist()
    assert processes == 2 and held == adapters * adapter
    assert step_cost(spec).beside == held


def test_ranks_by_kind_and_layer_are_counted_layer_by_layer(needs):
    words = ("model=roberta_base", "dataset=cola", "method=lora", "method.ranks={q: 8,layers.0-3.v: 32}")
    (estimate,) = needs(*words)
    assert estimate.ledger["adapter"] == 4 * (12 * 8 + 4 * 32 + 8 * 16) * (768 + 768)
    (again,) = needs(*words, "recipe.gradient_checkpointing=true")
    assert again.ledger["recomputed_block"] > 0
    (hierarchical,) = needs(*words[:2], "method=hierarchical")
    attention, up, down = 3 * (4 + 8 + 16) * 1536 + (8 + 16 + 32) * 1536, 56 * (768 + 3072), 112 * (768 + 3072)
    assert hierarchical.ledger["adapter"] == 4 * 4 * (attention + up + down)


def test_a_growing_rank_needs_what_its_last_rank_does(needs):
    words = ("model=roberta_base", "dataset=cola")
    (growing,), (last,) = needs(*words, "method=grow"), needs(*words, "method=lora", "method.update.rank=64")
    assert growing.ledger == last.ledger and growing.ledger["adapter"] == 4 * 24 * 64 * (768 + 768)
    assert needs(*words, "method=grow", "method.schedule.max_rank=32")[0].ledger["adapter"] == 4 * 24 * 32 * 1536


def test_gradient_checkpointing_and_smaller_batches_need_less(tmp_path, needs):
    words = ("method=lora", "model=roberta_base", "dataset=cola", "recipe.precision=float32")
    asked = ("recipe.batch_size=16", "recipe.batch_size=8", "recipe.gradient_checkpointing=true")
    whole, half, again = (needs(*words, word)[0].ledger for word in asked)
    assert half["saved_for_backward"] == pytest.approx(whole["saved_for_backward"] / 2, rel=0.02)
    assert again["saved_for_backward"] < whole["saved_for_backward"] / 4
    assert again["recomputed_block"] == pytest.approx(2 * whole["saved_for_backward"] / 12, rel=0.02)  # its batch is 32
    assert "recomputed_block" not in whole


def test_autocast_keeps_a_bfloat16_copy_of_each_frozen_weight_that_passes_a_gradient_on(needs):
    words = ("method=lora", "model=roberta_base", "dataset=cola", "recipe=study_roberta")
    whole, half = (
        needs(*words, f"recipe.batch_size={rows}")[0].ledger["saved_for_backward"] for rows in (32, 16)
    )  # what does not grow with the batch: weights, and the scalar loss
    o, up_and_down, head = 768 * 768, 2 * 768 * 3072, 768 * 768 + 768 * 2
    k = o  # of all blocks but the first, whose input needs no gradient; q and v are cast again instead of kept
    assert 2 * half - whole == 2 * (12 * (o + up_and_down) + 11 * k + head) + 4


def test_time_is_the_median_of_the_cells_own_records_before_anyone_elses(ran, told, tmp_path, needs):
    words = (*WORDS, "method=lora,cla", "seed=range(3)")
    lora, cla = ([run for run in planned(*words).runs if run.choices["method"] == name] for name in ("lora", "cla"))
    record = ran("method=lora", "seed=0")
    device = record.provenance["device"]["name"]
    for run, seconds in zip(lora, (10.0, 30.0, 20.0), strict=True):
        told(record, run, seconds)
    told(record, cla[0], 7.0)
    first, second = needs(*words)
    assert (first.seconds, first.seconds_from, first.runs) == (20.0, f"3 records, {device}", 3)
    assert (second.seconds, second.seconds_from) == (7.0, f"1 record, {device}")
    (other,) = needs(*WORDS, "method=asym", "recipe.lr=1e-5")
    assert (other.seconds, other.seconds_from) == (15.0, f"4 records of other methods, {device}")


def test_a_search_takes_four_passes_a_step_whatever_its_time_is_made_of(ran, told, needs):
    """Half of AutoLoRA's steps are a search: 2.5 passes in the mean, against LoRA's one."""
    record = ran("method=lora", "seed=0")
    (plain,) = planned(*WORDS, "method=lora", "seed=1").runs
    (searching,) = planned(*WORDS, "method=autolora").runs
    told(record, plain, 4.0)
    train, wall = (record.seconds[name].value for name in ("train", "wall"))
    (by_others,) = needs(*WORDS, "method=autolora")
    assert by_others.seconds == pytest.approx(2.5 * (train + 4.0) / 2)
    assert by_others.wall_seconds == pytest.approx((2 * (wall + 1.5 * train) + (4.0 - train) * 1.5) / 2)
    half, quarter = (
        needs(*WORDS, "method=autolora", "recipe.epochs=4", f"method.schedule.search={share}")[0].seconds
        for share in (0.5, 0.25)
    )
    assert half / quarter == pytest.approx(2.5 / 1.75), "FLOPs over a rate"
    told(record, searching, 10.0)
    assert needs(*WORDS, "method=autolora")[0].seconds == 10.0, "its own record is as long as it took"
    assert needs(*WORDS, "method=asym")[0].seconds == 4.0, "the median of both and of what the search is without it"


def test_times_of_two_devices_are_never_mixed_and_the_device_is_named(ran, told, tmp_path, needs):
    runs = planned(*WORDS, "method=lora", "seed=range(4)").runs
    record = ran("method=lora", "seed=0")
    gpu = replace(record, provenance={**record.provenance, "device": {"type": "cuda", "name": "GPU"}})
    for origin, run, seconds in ((record, runs[0], 90.0), (gpu, runs[1], 5.0), (gpu, runs[2], 7.0)):
        told(origin, run, seconds)
    (estimate,) = needs(*WORDS, "method=lora")
    assert (estimate.seconds, estimate.seconds_from) == (6.0, "2 records, GPU")


def test_without_a_record_of_the_task_time_is_scaled_by_flops(ran, tmp_path, needs):
    record = ran("method=lora")
    (one,) = needs(*WORDS, "method=lora", "recipe.epochs=4")
    assert one.seconds == pytest.approx(4 * record.seconds["train"].value)
    assert one.seconds_from.startswith("FLOPs at ") and "1 record, " in one.seconds_from


def test_a_probe_gives_the_rate_where_there_is_no_record(tmp_path, monkeypatch, needs):
    words = ("method=lora", "model=roberta_base", "dataset=cola", "recipe=study_roberta")
    (before,) = needs(*words)
    assert before.seconds is None
    speed = {"step_ms_median": {"value": 100.0}}
    row = {"name": "lora", "speed": speed, "exact": {"flops_per_step": {"value": 1e12}}}
    setting, device = {"model": "roberta_base"}, {"device": {"name": "GPU"}}
    keep_probe(tmp_path / "cache" / PROBES, {"setting": setting, "rows": [row], "provenance": device}, "full")
    (one,) = estimates(planned(*words), Store(tmp_path), tmp_path / "cache")
    steps = 20 * -(-round(8551 * 0.9) // 32)  # epochs of the recipe, official rows less the held-out tenth, batch
    assert one.seconds_from == "FLOPs at 10 TFLOP/s: 1 probe, GPU"
    flops_per_step = one.seconds * 1e13 / steps
    assert 1e12 < flops_per_step < 2e12  # 6 x 124 M weights x 32 x 128 tokens, less the frozen weights' gradients


def test_no_time_is_taken_from_a_run_that_shared_its_processor(ran, told, tmp_path, needs):
    record = ran("method=lora", "seed=0")
    marked = replace(record, notes=("timings not comparable: its threads waited for a CPU",))
    first, second = planned(*WORDS, "method=lora", "seed=range(2)").runs
    told(marked, first, 99.0)
    (one,) = needs(*WORDS, "method=lora")
    assert one.seconds is None and one.seconds_from.startswith("no record yet")
    told(replace(record, notes=()), second, 3.0)
    assert needs(*WORDS, "method=lora")[0].seconds == 3.0


def test_a_failed_or_damaged_record_estimates_nothing(ran, tmp_path, needs):
    record = ran("method=lora")
    path = Store(tmp_path).paths(record.id).record
    path.write_text(path.read_text()[:100])
    (one,) = needs(*WORDS, "method=lora")
    assert one.seconds is None and one.seconds_from.startswith("no record yet")


def test_a_shape_is_counted_once_and_what_costs_nothing_is_no_new_shape(tmp_path, monkeypatch):
    words = (*WORDS, "method=lora,lora_plus,cola", "recipe.lr=1e-3,1e-4", "seed=range(2)")
    counted = []
    from harness.planning import step_cost as module

    own = module.step_cost
    monkeypatch.setattr(module, "step_cost", lambda spec: counted.append(spec) or own(spec))
    first = estimates(planned(*words), Store(tmp_path), tmp_path / "cache")
    assert len(first) == 6 and len(counted) == 2  # a chain may keep its links beside W
    assert estimates(planned(*words), Store(tmp_path), tmp_path / "cache") == first and len(counted) == 2
    for kept in (tmp_path / "cache" / "ledgers").iterdir():
        kept.write_text("{")  # a damaged file is counted anew
    assert estimates(planned(*words), Store(tmp_path), tmp_path / "cache") == first and len(counted) == 4


def test_a_cache_that_cannot_be_written_to_costs_no_plan(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (one,) = estimates(planned(*WORDS, "method=lora"), Store(tmp_path), tmp_path / "file")
    assert one.bytes and one.bytes > 0


def test_the_plan_verb_shows_estimates_and_loads_torch_only_to_count(tmp_path, capsys):
    words = [*WORDS, "method=lora,cla", f"runs={tmp_path}", f"cache={tmp_path / 'cache'}"]
    torch_loaded = "import sys; from harness.__main__ import main; main({!r}); print('torch' in sys.modules)"

    def plan(*flags):
        code = torch_loaded.format(["plan", *words, *flags])
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "GPU memory" not in (said := plan("--no-estimate")) and said.endswith("False\n")
    assert main(["plan", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["estimates"]
    assert [one["choices"]["method"] for one in found] == ["lora", "cla"]
    assert found[0]["bytes"] > found[1]["bytes"] > 0
    assert "GPU memory" in (said := plan()) and said.endswith("False\n")  # the shapes are known by now


def test_every_number_of_a_plan_says_where_it_is_from(tmp_path, peftlab_cache, capsys):
    plan = planned(*WORDS, "method=lora")
    print_plan(plan, Store(tmp_path), estimates(plan, Store(tmp_path), peftlab_cache))
    said = capsys.readouterr().out
    assert "no record yet" in said and "counted on shapes" in said and "bfloat16 autocast" in said
