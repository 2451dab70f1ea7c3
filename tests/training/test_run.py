"""One run, for real: a small pretrained ViT on scikit-learn's digits."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score

import harness.training.loop as train_module
import harness.training.record as record_module
import harness.training.run as run_module
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import NodeError
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import CLOCKS
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure import cpu_matmul, process_history
from harness.measure.clocks import Clocks
from harness.planning.plan import plan_one, read_request
from harness.training import checkpoint
from harness.training.context import Stopped
from harness.training.run import run_one

WORDS = ("model=vit_micro", "dataset=digits", "recipe.epochs=2", "tracker=none", "device=cpu")


@pytest.fixture
def begin(tmp_path, peftlab_cache):
    """Plan a run in a store of its own; returns what run_one takes."""

    def plan(*words, store="runs"):
        request = read_request([*WORDS, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def _predictions(store, planned):
    return pq.read_table(store.paths(planned.id).predictions).to_pandas()


def test_a_run_leaves_a_record_predictions_and_an_adapter(begin):
    planned, store, settings = begin("method=lora")
    record = run_one(planned, store, settings)
    assert record.status == "done" and store.read(planned.id) == record
    assert run_id(parse(RunSpec, record.spec, "run")) == record.id == planned.id
    kept = _predictions(store, planned)
    score = record.scores["test"]["accuracy"]
    assert score.n == len(kept) == record.data["splits"]["test"]["n"]
    assert score.value == pytest.approx(accuracy_score(kept.target, kept.prediction))
    tensors = load_file(store.paths(planned.id).adapter / "state.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == record.parameters["trainable"].value
    assert not store.paths(planned.id).checkpoint.exists()


@pytest.mark.parametrize(("amd", "kernels"), [(True, "oneDNN"), (False, "PyTorch")])
def test_a_run_uses_the_matrix_products_that_its_record_names(begin, monkeypatch, amd, kernels):
    calls, real = [], cpu_matmul._onednn
    monkeypatch.setattr(cpu_matmul, "_onednn", lambda *given: calls.append(1) or real(*given))
    monkeypatch.setattr(cpu_matmul, "_made_by_amd", lambda: amd)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    record = run_one(*begin("method=lora"))
    assert record.status == "done"
    assert record.provenance["matmul"] == kernels and bool(calls) == amd


def test_five_clocks_add_up_to_the_wall_time(begin):
    run_one(*begin("method=head"))  # what this process pays once is paid
    record = run_one(*begin("method=cla"))
    seconds = {name: quantity.value for name, quantity in record.seconds.items() if isinstance(quantity, Measured)}
    assert sum(seconds[clock] for clock in CLOCKS) == pytest.approx(seconds["wall"], rel=0.01)
    assert 0 < seconds["train"] < seconds["wall"]


def test_a_record_says_who_else_used_the_processor_and_marks_its_times_when_others_did(begin, monkeypatch):
    record = run_one(*begin("method=head"))
    counted = record.contention
    assert 0 < counted["cpu_seconds"].value <= 1.1 * record.seconds["train"].value * torch.get_num_threads() + 0.1
    assert counted["cpu_wait_share"].value >= 0 and isinstance(counted["gpu_sm_mhz"], NotMeasured)
    assert counted["marked"].value == (record.why_not_comparable is not None)
    monkeypatch.setattr("harness.measure.contention.MOST_LOST", -1.0)
    marked = run_one(*begin("method=head", "seed=1"))
    assert marked.contention["marked"].value == 1 and "waited for a CPU" in marked.why_not_comparable
    assert marked.notes == (f"timings not comparable: {marked.why_not_comparable}",)


def test_who_else_used_the_processor_is_counted_over_all_attempts(begin):
    planned, store, settings = begin("method=lora", "checkpoint_seconds=0")
    asked = iter([False] * 4)
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked, True))
    state = store.paths(planned.id).checkpoint / "state.json"
    facts = json.loads(state.read_bytes())
    facts["contention"]["wait"] += 1e6
    del facts[checkpoint._SEAL]
    state.write_text(json.dumps(facts | {checkpoint._SEAL: checkpoint._seal(facts)}))
    record = run_one(planned, store, settings)
    assert record.attempts == 2
    assert record.contention["cpu_wait_seconds"].value >= 1e6 and record.contention["marked"].value == 1
    assert store.read(planned.id) == record


def test_a_record_of_an_earlier_version_has_no_contention(begin):
    planned, store, settings = begin("method=head")
    run_one(planned, store, settings)
    path = store.paths(planned.id).record
    raw = json.loads(path.read_bytes())
    del raw["contention"]
    path.write_text(json.dumps(raw | {"schema": 2}))
    record = store.read(planned.id)
    assert record.contention == {} and record.scores


def test_the_exact_counts_of_a_cell_are_equal_for_all_seeds(begin):
    words = ("model=minilm", "model.size=tiny", "dataset=stdlib_docs", "recipe.max_steps=1", "recipe.evaluations=1")
    first, second = (run_one(*begin(*words, "method=cla", f"seed={seed}")) for seed in (0, 1))
    assert first.status == second.status == "done"
    assert first.ledger == second.ledger
    assert first.work["flops_per_step"] == second.work["flops_per_step"]


def test_what_a_process_pays_once_is_no_cost_of_its_first_run(begin, monkeypatch):
    monkeypatch.setattr(process_history, "_begun", 0)
    monkeypatch.setattr(process_history, "_paid", set())
    first, second = (run_one(*begin("method=head", f"seed={seed}")) for seed in (0, 1))
    assert isinstance(first.seconds["setup"], NotMeasured) and first.seconds["worker_setup"].value > 0
    clocks = [first.seconds[clock].value for clock in CLOCKS if clock != "setup"]
    assert sum(clocks) == pytest.approx(first.seconds["wall"].value, rel=0.01)
    assert second.seconds["setup"].value > 0 and isinstance(second.seconds["worker_setup"], NotMeasured)
    if sys.platform == "linux":
        assert first.memory["train_peak_rss"].value > 0
    assert "another run" in second.memory["train_peak_rss"].why and "isolate=true" in second.memory["eval_peak_rss"].why
    other = run_one(*begin("method=head", "recipe.epochs=1", "model.size=tiny"))
    assert isinstance(other.seconds["setup"], NotMeasured)  # another model: loaded for the first time


def test_an_evaluation_that_sleeps_does_not_lengthen_training(begin, monkeypatch):
    slept = [0.0]  # planted in the clocks' time rather than slept: a machine that stalls changes nothing here
    monkeypatch.setattr(run_module, "Clocks", lambda device: Clocks(device, lambda: time.perf_counter() + slept[0]))
    real = train_module.predict

    def sleepy(*given, **options):
        slept[0] += 10_000
        return real(*given, **options)

    monkeypatch.setattr(train_module, "predict", sleepy)
    seconds = run_one(*begin("method=head")).seconds
    measured = [seconds[clock].value for clock in CLOCKS if isinstance(seconds[clock], Measured)]
    assert slept[0] >= 20_000  # validation at least once, and the test
    assert seconds["eval"].value > slept[0]
    assert seconds["train"].value < 5_000
    assert sum(measured) == pytest.approx(seconds["wall"].value, rel=0.01)


def test_the_same_spec_gives_the_same_predictions(begin):
    first, second = begin("method=lora"), begin("method=lora", store="again")
    run_one(*first)
    run_one(*second)
    assert _predictions(first[1], first[0]).equals(_predictions(second[1], second[0]))


@pytest.mark.parametrize("method", ["lora", "cla", "full"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(begin, method):
    whole = begin(f"method={method}")
    straight = run_one(*whole)
    planned, store, settings = begin(f"method={method}", store="stopped")
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked) > 20)
    assert store.status(planned.id) == "unfinished"
    resumed = run_one(planned, store, settings)
    assert resumed.attempts == 2
    assert _predictions(whole[1], planned).equals(_predictions(store, planned))
    assert [(p.step, p.val, p.lr) for p in resumed.curve] == [(p.step, p.val, p.lr) for p in straight.curve]
    assert resumed.scores == straight.scores and resumed.selected == straight.selected


def test_a_checkpoint_whose_files_are_gone_is_none(begin):
    planned, store, settings = begin("method=head")
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked) > 20)
    for folder in store.paths(planned.id).checkpoint.glob("step-*"):
        shutil.rmtree(folder)
    assert run_one(planned, store, settings).attempts == 1


KILLED_AT_STEP_9 = """
import os, signal, sys
from harness.__main__ import main
from harness.training import loop
step, done = loop._step, []
def counted(*given):
    if len(done) == 9: os.kill(os.getpid(), signal.SIGKILL)
    done.append(0)
    return step(*given)
loop._step = counted
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(begin, tmp_path):
    whole = begin("method=lora")
    run_one(*whole)
    planned, store, settings = begin("method=lora", "checkpoint_seconds=0", store="killed")
    words = ["run", *WORDS, "method=lora", "checkpoint_seconds=0", f"runs={store.root}", f"cache={settings.cache}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_STEP_9, *words], env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert (store.paths(planned.id).checkpoint / "state.json").exists()
    assert store.status(planned.id) == "unfinished", "it was killed in the middle"
    assert main(words) == 0
    assert store.read(planned.id).attempts == 2
    assert _predictions(whole[1], planned).equals(_predictions(store, planned))
    assert store.read(planned.id).scores == whole[1].read(planned.id).scores


def test_a_loss_that_is_not_finite_is_a_failed_record(begin):
    planned, store, settings = begin("method=full", "recipe.lr=1e30", "recipe.head_lr=1e30", "recipe.clip_norm=null")
    record = run_one(planned, store, settings)
    assert record.failure.kind == "diverged" and record.failure.phase == "train"
    assert store.status(planned.id) == "failed" and not record.scores


def test_data_that_is_not_here_is_no_record_and_says_the_next_step(begin, monkeypatch):
    monkeypatch.delenv("PEFTLAB_MIRROR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    planned, store, settings = begin("model=minilm", "dataset=mrpc")
    with pytest.raises(NodeError, match=r"nyu-mll/glue.*peftlab fetch dataset=mrpc"):
        run_one(planned, store, settings)
    assert store.status(planned.id) == "unfinished", "the same command takes it up once the data is here"


def test_an_interrupt_is_recorded_and_the_next_call_goes_on(begin, monkeypatch):
    planned, store, settings = begin("method=lora")

    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "test", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_one(planned, store, settings)
    assert store.read(planned.id).failure.kind == "interrupt" and store.read(planned.id).may_go_on
    assert run_one(planned, store, settings).status == "done"


def test_a_loss_that_is_not_finite_in_an_evaluation_is_a_diverged_run(begin, monkeypatch):
    real = train_module.predict
    broken = lambda *given, **options: [replace(one, loss=math.nan) for one in real(*given, **options)]  # noqa: E731
    monkeypatch.setattr(train_module, "predict", broken)
    failure = run_one(*begin("method=head")).failure
    assert (failure.kind, failure.phase) == ("diverged", "eval") and "not finite" in failure.message


def test_the_test_split_is_predicted_once_and_at_the_best_checkpoint(begin, monkeypatch):
    planned, store, settings = begin("method=lora", "recipe.evaluations=4")
    seen = []
    real = run_module.predict_split
    monkeypatch.setattr(
        run_module, "predict_split", lambda context, split: (seen.append(split), real(context, split))[1]
    )
    record = run_one(planned, store, settings)
    assert len(seen) == 1
    best = max(record.curve, key=lambda point: (point.val["accuracy"], -point.step))
    assert record.selected["step"] == best.step
    assert record.scores["val"]["accuracy"].value == best.val["accuracy"]


def test_methods_of_one_seed_share_batches_and_head(begin, tmp_path):
    from harness.ledger.events import Events

    loaded = {}
    for method in ("lora", "cla", "full"):
        planned, store, settings = begin(f"method={method}")
        folder = store.paths(planned.id)
        folder.folder.mkdir(parents=True)
        device = torch.device("cpu")
        spec = parse(RunSpec, planned.spec, "run")
        loaded[method] = run_module.load(spec, folder, settings, device, Clocks(device), Events(folder.events))
    orders = {
        m: [b.ids for w, _ in zip(p.loader.steps(0), range(40), strict=False) for b in w] for m, p in loaded.items()
    }
    assert orders["lora"] == orders["cla"] == orders["full"]
    heads = [context.model.get_submodule(context.loaded.layout.head[0]).state_dict() for context in loaded.values()]
    assert all(torch.equal(heads[0][name], head[name]) for head in heads for name in head)


def test_the_ledger_and_the_counts_are_exact(begin):
    record = run_one(*begin("method=lora"))
    adapter = record.parameters["adapter"].value
    assert record.ledger["adapter"] == Measured(4 * adapter, "byte")
    trainable = record.parameters["trainable"].value
    assert record.ledger["gradients"].value == 4 * trainable
    assert record.ledger["optimizer"].value >= 8 * trainable
    assert record.work["flops_per_step"].value > 0


def test_the_ledger_and_the_flops_are_of_one_untimed_pass(begin, monkeypatch):
    passes, real = [], record_module.backward
    monkeypatch.setattr(record_module, "backward", lambda *given: passes.append(1) or real(*given))
    assert run_one(*begin("method=lora")).status == "done"
    assert len(passes) == 1


def test_the_training_loss_of_the_whole_split_is_measured_when_asked(begin):
    record = run_one(*begin("method=head", "recipe.train_loss=true"))
    assert record.scores["train"]["loss"].n == record.data["splits"]["train"]["n"]


@pytest.mark.parametrize("method", ["cola", "c3la"])
def test_a_chain_records_every_link_whichever_checkpoint_is_best(begin, monkeypatch, method):
    monkeypatch.setattr(train_module, "_better", lambda *given: False)  # the first checkpoint stays the best
    planned, store, settings = begin(f"method={method}", "method.schedule.links=4", "recipe.evaluations=4")
    record = run_one(planned, store, settings)
    assert record.failure is None, record.failure
    assert record.selected["step"] == record.curve[0].step
    assert len(record.links) == 3 and [link["index"] for link in record.links] == [0, 1, 2]


def test_accumulated_micro_batches_give_the_gradient_of_one_large_batch(begin):
    from harness.ledger.events import Events

    planned, store, settings = begin("method=lora")
    folder, device = store.paths(planned.id), torch.device("cpu")
    folder.folder.mkdir(parents=True)
    spec = parse(RunSpec, planned.spec, "run")
    context = run_module.load(spec, folder, settings, device, Clocks(device), Events(folder.events))
    context.model.eval()  # no dropout: its masks have the shape of the batch

    def gradients(*sizes):
        context.model.zero_grad()
        rows, weight = iter(range(24)), sum(sizes)
        for size in sizes:
            batch = context.task.collate([context.data.train[next(rows)] for _ in range(size)], None)
            (context.task.losses(context.model, batch).sum() / weight).backward()
        return [p.grad.clone() for p in context.model.parameters() if p.grad is not None]

    for whole, summed in zip(gradients(24), gradients(13, 11), strict=True):
        torch.testing.assert_close(whole, summed, rtol=1e-4, atol=1e-6)
