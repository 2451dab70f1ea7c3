"""A rank that grows: by its formula, without a jump, with moments for what was there, and by validation alone."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from harness.training.optimizer import apply_change
from methods.method import Progress
from methods.training import Training
from methods.why_not import why_not, why_not_train

TARGETS = {"q": "attention.query", "v": "attention.value"}


def growing(lab, shape="step", every=2, **changes):
    spec = lab.spec("grow", shape=shape, every=every, **changes)
    return replace(spec, update=replace(spec.update, rank=2, alpha=4.0))


def ranks(method):
    return {update.a.shape[0] for update in method.updates.values()}


@pytest.mark.parametrize(
    "shape, every, formula",
    [
        ("step", 3, lambda t: min(2 * 2 ** (t // 3), 16)),
        ("step", 1, lambda t: min(2 * 2**t, 16)),
        ("linear", 1, lambda t: int(2 + min(t / 10, 1) * 14)),
        ("linear", 3, lambda t: int(2 + min(t / 30, 1) * 14)),
    ],
)
def test_the_rank_follows_its_formula_and_never_falls(lab, shape, every, formula):
    tiny = lab.tiny()
    method = lab.attach(tiny, growing(lab, shape, every, max_rank=16))
    seen = []
    lab.train(tiny, method, 15, watch=lambda step: seen.append((step, ranks(method))))
    assert seen[:-1] == [(step, {formula(step)}) for step in range(1, 15)]
    assert seen[-1][1] == seen[-2][1]  # nothing is added that no step would train
    assert [entry["step"] for entry in method.history()] == [
        step for step in range(1, 15) if formula(step) > formula(step - 1)
    ]


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_each_growth_keeps_the_function_and_the_moments_and_frees_the_new_rows(lab, family):
    tiny = lab.tiny(family, dtype=torch.float64)
    method = lab.attach(tiny, growing(lab, every=3, max_rank=8))
    groups = partial(method.groups, 1e-2, 1e-2, 0.0)
    method.begin(Training(9, 3, 1e-2))
    optimizer = torch.optim.AdamW(groups())
    for step in range(1, 9):
        tiny.loss().backward()
        optimizer.step()
        update = next(iter(method.updates.values()))
        before, old = tiny.logits().detach(), optimizer.state[update.b]["exp_avg"].clone()
        change = method.after_step(Progress(step, 9, 3))
        optimizer.zero_grad()
        apply_change(optimizer, change, groups)
        assert torch.allclose(tiny.logits(), before, atol=1e-12)
        assert bool(change.replaced) == (step % 3 == 0)
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert {id(p) for u in method.updates.values() for p in u.parameters()} <= trained
        moments = optimizer.state[update.b]["exp_avg"]
        assert torch.equal(moments[:, : old.shape[1]], old) and moments[:, old.shape[1] :].abs().sum() == 0
    assert all((u.b[:, 2:].abs().max() > 0) and u.scale == 2.0 for u in method.updates.values())
    assert method.counts()["adapter"] == sum(8 * (s.in_features + s.out_features) for s in method.sites)


def step_with(method, step, scores):
    return method.after_step(Progress(step, 100, 10, tuple(scores)))


def test_adaptive_growth_waits_until_validation_stalls_and_asks_each_score_once(lab):
    method = lab.attach(lab.tiny(), growing(lab, "adaptive", every=10, max_rank=9))
    method.begin(Training(100, 10, 1e-3))
    history = [(10, [0.5], 2), (20, [0.5, 0.6], 2), (30, [0.5, 0.6, 0.6], 6), (40, [0.5, 0.6, 0.6], 6),
               (45, [0.5, 0.6, 0.6, 0.5], 6), (50, [0.5, 0.6, 0.6, 0.5], 9),
               (60, [0.5, 0.6, 0.6, 0.5, 0.5], 9)]  # fmt: skip
    for step, scores, expected in history:
        step_with(method, step, scores)
        assert ranks(method) == {expected}, step


@pytest.mark.parametrize("shape", ["linear", "step"])
def test_a_grown_run_resumes_bit_for_bit_and_goes_back(lab, shape):
    spec = growing(lab, shape, max_rank=12)
    one, two = lab.tiny(), lab.tiny()
    method = lab.attach(one, spec)
    optimizer = lab.train(one, method, 1, total=9)
    early, early_facts, then = {n: t.clone() for n, t in method.tensors().items()}, method.facts(), one.logits()
    lab.train(one, method, 5, first=1, total=9, optimizer=optimizer)
    kept, facts = {n: t.contiguous().clone() for n, t in method.tensors().items()}, method.facts()
    moments = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(one, method, 9, first=5, optimizer=optimizer)
    again = lab.attach(two, spec, seed=0)
    again.restore(kept, facts)
    other = torch.optim.AdamW(again.groups(1e-2, 1e-2, 0.0))
    other.load_state_dict({"state": moments, "param_groups": other.state_dict()["param_groups"]})
    lab.train(two, again, 9, first=5, optimizer=other)
    assert torch.equal(one.logits(), two.logits()) and again.history() == method.history()
    method.restore(early, early_facts)
    assert torch.equal(one.logits(), then)


def test_a_gated_update_grows_with_open_gates(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, replace(lab.spec("sora"), schedule=growing(lab, every=2, max_rank=6).schedule))
    lab.train(tiny, method, 2, total=9)
    assert all(update.gate.shape == (6,) and update.gate[4:].tolist() == [1, 1] for update in method.updates.values())


@pytest.mark.parametrize(
    "name, changes, sentence",
    [
        ("lora", {"rank": 64}, "lora: schedule.max_rank 64 is not above the first rank, 64."),
        ("lora", {"max": 400}, "lora has rank 400, above the smallest width 192 of its targets."),
        ("asym", {}, "asym: grow changes both factors, and one of them is frozen."),
        ("cla", {}, "cla: grow changes the rank of low_rank and gated, not of columns."),
        ("vera", {}, "vera: grow changes updates of single weights, and peft is none."),
    ],
)
def test_what_cannot_grow_is_one_sentence(lab, name, changes, sentence):
    schedule = lab.spec("grow", max_rank=changes.get("max", 64)).schedule
    rank = {"rank": changes["rank"]} if "rank" in changes else {}
    assert why_not(replace(lab.spec(name, **rank), schedule=schedule), targets=TARGETS, smallest=192) == sentence


def test_a_training_too_short_to_grow_in_is_refused(lab):
    why = why_not_train(lab.spec("grow"), Training(50, 10, 1e-3))
    assert why == "grow: nothing grows within 50 steps; lower schedule.every, which is 50."
