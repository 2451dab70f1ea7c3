"""Runs of one process that share a packed base: each is the run it would be in a process of its own."""

import os
from dataclasses import replace

import pytest
import torch

from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.quantity import NotMeasured
from harness.ledger.seeds import Seeds
from harness.ledger.store import Store
from harness.measure import process_history
from harness.models import kept_base
from harness.models.files import stamp
from harness.models.load import load_model
from harness.planning.plan import plan_one, read_request
from harness.training import run as run_module
from harness.training.run import run_one
from methods.quantised import dequantised, quantised_modules, scales_of
from tests.models.test_load import card, task

pytest.importorskip("bitsandbytes")
RESOLVER = Resolver()
WORDS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=4", "recipe.evaluations=1",
         "recipe.batch_size=4", "dataset.split.limit={train: 16, validation: 8, test: 8}", "tracker=none",
         "device=cpu")  # fmt: skip
HOW = {"nf4": {"quantization": "nf4", "double_quantization": True}, "int8": {"quantization": "int8"}}
METHODS = {"nf4": ("lora", "cla", "cola"), "int8": ("lora", "c3la")}


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(process_history, "_more", True)
    kept_base.forget_base()
    yield
    kept_base.forget_base()


@pytest.fixture
def ran(tmp_path, peftlab_cache):
    """Do a run; its record, and all that it kept of predictions and weights, to the bit."""

    def run(store, how, *words):
        quantised = [f"model.{key}={str(value).lower()}" for key, value in HOW[how].items()]
        request = read_request([*WORDS, *quantised, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        planned, own = plan_one(request, RESOLVER), Store(tmp_path / store)
        record = run_one(planned, own, settings_from(request.config))
        folder = own.paths(planned.id)
        return record, folder.predictions.read_bytes(), (folder.adapter / "state.safetensors").read_bytes()

    return run


def loaded(cache, how="nf4", seed=0, data="digits", **changes):
    return load_model(replace(card("vit_micro"), **HOW[how], **changes), task(data), Seeds(seed), cache)


@pytest.mark.parametrize("how", HOW)
def test_a_run_after_others_on_the_same_base_is_to_the_bit_the_run_that_it_is_alone(ran, how, monkeypatch):
    with monkeypatch.context() as alone:
        alone.setattr(process_history, "_more", False)
        each = {name: ran("alone", how, f"method={name}") for name in METHODS[how]}
    ran("together", how, "method=bitfit", "seed=1")  # it writes into biases, and draws another head
    for name, (expected, *kept) in each.items():
        record, *bits = ran("together", how, f"method={name}")
        assert bits == kept, name
        assert (record.id, record.scores) == (expected.id, expected.scores)
        assert [point.train_loss for point in record.curve] == [point.train_loss for point in expected.curve]
        assert (record.links, record.ledger, record.work) == (expected.links, expected.ledger, expected.work)
        assert isinstance(expected.seconds["setup"], NotMeasured) and record.seconds["setup"].value > 0


def packed(model):
    return [t for _, module in quantised_modules(model) for t in (module.weight, *scales_of(module))]


def places(tensors):
    return [tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()]


@pytest.mark.parametrize("how", HOW)
def test_models_of_one_base_hold_the_same_codes_and_scales_and_nothing_else_together(peftlab_cache, how):
    first, second = loaded(peftlab_cache, how), loaded(peftlab_cache, how, seed=1, data="digits_parity")
    assert not second.shared, "digits_parity has a head of another width"
    first, second = second, loaded(peftlab_cache, how, seed=2, data="digits_parity")
    assert second.shared and places(packed(first.model)) == places(packed(second.model))
    codes = set(places(packed(first.model)))
    own = [set(places([*each.model.parameters(), *each.model.buffers()])) - codes for each in (first, second)]
    assert not own[0] & own[1] and len(own[0]) == len(own[1]) > 10
    heads = [each.model.classifier.weight for each in (first, second)]
    kept_base.forget_base()
    alone = loaded(peftlab_cache, how, seed=2, data="digits_parity")
    assert torch.equal(alone.model.classifier.weight, heads[1]) and not torch.equal(*heads)


@pytest.mark.parametrize("how", HOW)
def test_a_model_that_moves_to_another_device_leaves_the_kept_base_where_it_is(peftlab_cache, how):
    moved = loaded(peftlab_cache, how).model
    before = [dequantised(module) for _, module in quantised_modules(moved)]
    for _, module in quantised_modules(moved):  # as `to("cuda")` does it: all of this in place
        module.weight.data = torch.zeros_like(module.weight.data)
        if how == "nf4":
            module.weight.quant_state.to("meta")
            assert module.quant_state is module.weight.quant_state
        else:
            module.weight.SCB = module.weight.CB = None
            module.state.SCB = torch.zeros(1)
    after = [dequantised(module) for _, module in quantised_modules(loaded(peftlab_cache, how).model)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)) and len(before) > 10


def test_a_wrapped_hooked_and_trained_model_leaves_the_kept_base_plain(peftlab_cache):
    model = loaded(peftlab_cache).model
    block = model.vit.layers[0]
    block.attention.q_proj = torch.nn.Identity()
    block.register_forward_hook(lambda *given: None)
    block.attention.k_proj.add_module("beside", torch.nn.Identity())
    with torch.no_grad():
        for parameter in (each for each in model.parameters() if each.is_floating_point()):
            parameter.add_(1)
    model.requires_grad_(False)
    after = loaded(peftlab_cache)
    kept_base.forget_base()
    fresh = loaded(peftlab_cache)
    assert after.shared and not fresh.shared and str(after.model) == str(fresh.model)
    assert not after.model.vit.layers[0]._forward_hooks
    for mine, theirs in zip(after.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(mine.data, theirs.data) and mine.requires_grad == theirs.requires_grad


def test_a_base_is_kept_for_the_next_run_alone_and_no_longer_than_it_serves(peftlab_cache, monkeypatch):
    loaded(peftlab_cache)
    assert loaded(peftlab_cache, compute_dtype="bfloat16").shared is False, "it multiplies otherwise"
    assert loaded(peftlab_cache).shared is False, "one is kept, the last"
    load_model(card("vit_micro"), task("digits"), Seeds(0), peftlab_cache)
    assert not kept_base.keeps_base(), "a model that is not packed takes its room"
    tiny = [loaded(peftlab_cache, size="tiny", seed=seed).shared for seed in (0, 0, 1)]
    assert tiny == [False, True, False], "the weights of size=tiny are drawn by the seed"
    kept_base.forget_base()
    monkeypatch.setattr(process_history, "_more", False)
    loaded(peftlab_cache)
    assert not kept_base.keeps_base() and not loaded(peftlab_cache).shared, "nobody else would have it"


def test_weights_of_another_file_are_another_base(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    before = stamp(tmp_path)
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert stamp(tmp_path) != before


def test_a_run_that_keeps_its_base_measures_no_resident_set_and_one_without_memory_lets_go_of_it(ran, monkeypatch):
    monkeypatch.setattr(process_history, "_begun", 0)
    record, *_ = ran("runs", "nf4", "method=head")
    assert "keeps the packed base for other runs" in record.memory["train_peak_rss"].why
    assert kept_base.keeps_base()

    def full(*given, **options):
        raise MemoryError

    monkeypatch.setattr(run_module, "train", full)
    with pytest.raises(FileNotFoundError):  # such a run has no predictions
        ran("runs", "nf4", "method=lora")
    assert not kept_base.keeps_base()
