"""LoRA-Squeeze through the real loop: one source, several target ranks; stages, resumed; nothing trained at all."""

from dataclasses import replace

import pytest
from safetensors.torch import load_file

import harness.training.loop as loop_module
from analysis.checks.run import check_run
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.execution.queue import work
from harness.ledger.store import Store
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.training.context import Stopped
from harness.training.run import run_one
from tests.rewrite import rewrite

WORDS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "tracker=none", "device=cpu",
         "recipe.evaluations=3")  # fmt: skip


def run(tmp_path, cache, *words):
    return main(["run", *WORDS, *words, f"runs={tmp_path}/runs", f"cache={cache}"])


def sweep_here(tmp_path, cache, *words):
    """What a worker of `peftlab sweep` does with the plan, in this process."""
    request = read_request([*WORDS, *words, f"runs={tmp_path}/runs", f"cache={cache}"])
    plan, settings = plan_sweep(request, Resolver()), settings_from(request.config)

    def do(planned, leased):
        return run_one(planned, leased, settings)

    work(plan.ids, plan, Store(settings.runs), do, stop=lambda: False)


def ranks_of(store, run):
    tensors = load_file(store.paths(run).adapter / "state.safetensors")
    return {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".a")}


def test_one_training_serves_all_target_ranks(tmp_path, peftlab_cache):
    sweep_here(tmp_path, peftlab_cache, "method=squeeze_post", "method.schedule.rank=16,4,1", "source.method=lora",
               "recipe.max_steps=0", "source.recipe.max_steps=8")  # fmt: skip
    assert run(tmp_path, peftlab_cache, "method=squeeze_cont", "method.schedule.rank=2", "source.method=lora",
               "recipe.max_steps=3", "recipe.warmup_steps=1", "source.recipe.max_steps=8",
               "source.recipe.warmup_steps=null") == 0  # fmt: skip
    store = Store(tmp_path / "runs")
    records = [store.read(path.parent.name) for path in (tmp_path / "runs").glob("*/record.json")]
    assert all(record.status == "done" for record in records)
    (source,) = [record for record in records if "source" not in record.spec]
    post = {r.spec["method"]["schedule"]["rank"]: r for r in records if r.spec["method"]["name"] == "squeeze_post"}
    (cont,) = [r for r in records if r.spec["method"]["name"] == "squeeze_cont"]
    assert sorted(post) == [1, 4, 16] and len(records) == 5
    assert {rank: ranks_of(store, record.id) for rank, record in post.items()} == {1: {1}, 4: {4}, 16: {16}}
    assert all(record.work["steps"].value == 0 for record in post.values()) and cont.work["steps"].value == 3
    same, whole = post[16].scores["test"]["loss"].value, source.scores["test"]["loss"].value
    assert same == pytest.approx(whole, rel=1e-4), "the rank is kept, and so is the function"
    for record in (*post.values(), cont):
        (entry,) = record.links
        assert record.spec["source"]["method"]["update"]["rank"] == entry["rank_before"] == 16
        assert all(0 < kept <= 1 + 1e-9 for kept in entry["variance_kept"].values())
    assert ranks_of(store, cont.id) == {2}
    assert [check_run(tmp_path / "runs" / record.id) for record in records] == [()] * 5, "all are believed"


@pytest.fixture
def planned(tmp_path, peftlab_cache):
    def plan(*words, store="runs"):
        request = read_request([*WORDS, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


ADAFACTOR = (
    "+recipe.optimizer=adafactor",
    "recipe.lr=3e-2",
    "recipe.clip_norm=null",
    "method.schedule.moments=projected",
)


@pytest.mark.parametrize("more", [(), ADAFACTOR], ids=["adamw", "adafactor"])
def test_stages_of_one_run_end_at_the_last_rank_and_are_resumed_bit_for_bit(planned, monkeypatch, more):
    words = ("method=squeeze_in", "method.schedule.ranks=[16,4,1]", "recipe.max_steps=21", *more)
    plan, straight_store, settings = planned(*words)
    straight = run_one(plan, straight_store, settings)
    assert straight.failure is None, straight.failure
    assert [(entry["step"], entry["rank"]) for entry in straight.links] == [(16, 4), (20, 1)]
    assert check_run(straight_store.root / plan.id) == ()
    assert straight.selected["step"] == 21 and ranks_of(straight_store, plan.id) == {1}, "only the last rank is tested"
    _, store, settings = planned(*words, store="stopped")
    done, step = [], loop_module._step
    monkeypatch.setattr(loop_module, "_step", lambda *given: (done.append(0), step(*given))[1])
    with pytest.raises(Stopped):
        run_one(plan, store, settings, stop=lambda: len(done) >= 18)
    resumed = run_one(plan, store, settings)
    assert len(done) == 21 and resumed.attempts == 2 and resumed.links == straight.links
    assert resumed.scores == straight.scores
    ours, theirs = (load_file(s.paths(plan.id).adapter / "state.safetensors") for s in (straight_store, store))
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)


def test_the_gradients_in_the_ledger_are_those_of_the_first_rank_exactly(planned):
    plan, store, settings = planned("method=squeeze_in", "method.schedule.ranks=[16,4]", "recipe.max_steps=3")
    record = run_one(plan, store, settings)
    held, counts = record.ledger["gradients"].value, record.parameters
    assert held == 4 * (4 * counts["adapter"].value + counts["head"].value)
    few = replace(record.ledger["gradients"], value=4 * counts["trainable"].value)
    rewrite(store.root, replace(record, ledger={**record.ledger, "gradients": few}))
    assert any("float32 gradients" in finding.what for finding in check_run(store.root / plan.id))


def test_a_source_that_fails_fails_its_targets(tmp_path, peftlab_cache):
    for rank in (4, 1):  # a sweep's workers: tests/execution/test_source.py
        assert run(tmp_path, peftlab_cache, "method=squeeze_post", f"method.schedule.rank={rank}",
                   "source.method=lora", "recipe.max_steps=0", "source.recipe.max_steps=20",
                   "source.recipe.lr=1e30", "source.recipe.clip_norm=null") == 1  # fmt: skip
    store = Store(tmp_path / "runs")
    failures = [store.read(path.parent.name).failure for path in (tmp_path / "runs").glob("*/record.json")]
    kinds = sorted(failure.kind for failure in failures if failure)
    assert kinds == ["diverged", "source", "source"]


def test_a_source_that_kept_no_adapter_is_said(tmp_path, peftlab_cache):
    words = ("method=squeeze_post", "source.method=lora", "recipe.max_steps=0", "source.recipe.max_steps=2")
    assert run(tmp_path, peftlab_cache, *words, "keep=none") == 1
    store = Store(tmp_path / "runs")
    records = [store.read(path.parent.name) for path in (tmp_path / "runs").glob("*/record.json")]
    (message,) = [record.failure.message for record in records if record.failure]
    assert "kept no adapter" in message and "keep=adapters" in message
