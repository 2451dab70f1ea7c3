"""What a new update or schedule must keep, held for every one that exists, and for a gated and a rank-changing toy."""

import importlib
import pkgutil
import sys
from dataclasses import replace

import pytest
import torch

import methods.update
from harness.config.compose import choices, compose_part
from harness.config.overrides import assign
from harness.ledger.parse import parse
from harness.planning.fast_path import adapted, differing, move, moved_outputs
from harness.training.optimizer import apply_change
from methods import sites
from methods.method import NO_CHANGE
from methods.spec import MethodSpec, SiteUpdateSpec
from methods.training import Training
from methods.update.base import SiteUpdate
from methods.update.init import factor
from methods.update.low_rank import LowRankUpdate
from methods.update.low_rank_linear import low_rank_linear
from tests.growing import install

FAMILIES = ("bert", "gpt2")  # stored (out, in), and transposed with three updates in one module


def small(name):
    """A method of conf/method or of PEFTLAB_CONF, at rank 4 where it has one."""
    spec = parse(MethodSpec, compose_part("method", [assign("method", name)]), "method")
    ranked = hasattr(spec.update, "rank")
    return replace(spec, update=replace(spec.update, rank=4, alpha=7.0)) if ranked else spec  # type: ignore[call-arg]


SPECS = {name: spec for name in choices("method") if isinstance((spec := small(name)).update, SiteUpdateSpec)}


@pytest.fixture
def gated(tmp_path, monkeypatch):
    """The gated update of CONTRIBUTING.md, and its spec."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("gated")
    yield module
    sys.modules.pop("gated", None)
    sys.modules.pop("halved", None)


def gated_spec(gated, **changes):
    return replace(SPECS["lora"], update=gated.GatedLowRank("gated_low_rank", 4, 7.0), **changes)


def check_fast_is_dense(lab, monkeypatch, family, spec):
    fast, dense = lab.tiny(family, dtype=torch.float64), lab.tiny(family, dtype=torch.float64)
    ours = moved_outputs(fast.model, lab.attach(fast, spec))
    with monkeypatch.context() as patch:
        patch.setattr(sites, "_is_plain", lambda model, name: False)  # as if sharded: the branch is taken
        theirs = moved_outputs(dense.model, lab.attach(dense, spec))
    assert all(layer._fast_path is type(layer.updates[0]).fast_path for layer in adapted(fast.model))
    assert not any(layer.is_fast for layer in adapted(dense.model))
    assert len(ours) == len(theirs) > 6
    for fast_value, dense_value in zip(ours, theirs, strict=True):
        assert not differing(fast_value, dense_value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.schedule.kind != "chain"])
def test_the_fast_path_is_the_branch_in_outputs_and_all_gradients(lab, monkeypatch, family, name):
    ranks = {key: rank for key, rank in SPECS[name].ranks.items() if key.endswith((".q", ".v"))}
    check_fast_is_dense(lab, monkeypatch, family, replace(SPECS[name], targets=("q", "v"), ranks=ranks))


def test_every_kind_of_update_is_held_against_its_branch_by_a_method_of_conf():
    kinds = set(SiteUpdateSpec.own())
    assert kinds and kinds <= {spec.update.kind for spec in SPECS.values() if spec.schedule.kind != "chain"}


def test_every_fast_path_of_the_project_is_held_by_a_method_of_conf(lab):
    for module in pkgutil.iter_modules(methods.update.__path__, "methods.update."):
        importlib.import_module(module.name)
    waiting, classes = [SiteUpdate], set()
    while waiting:
        classes |= set(subclasses := waiting.pop().__subclasses__())
        waiting += subclasses
    fast = {c for c in classes if c.fast_path is not None and c.__module__.startswith("methods.")}
    held = {type(u) for spec in SPECS.values() for u in lab.attach(lab.tiny(), spec).updates.values()}
    assert fast and fast <= held


@pytest.mark.parametrize("family", FAMILIES)
def test_an_update_without_a_fast_path_runs_on_its_branch(lab, monkeypatch, gated, family):
    tiny, spec = lab.tiny(family), gated_spec(gated)
    method = lab.attach(tiny, spec)
    assert gated.GatedUpdate.fast_path is None and LowRankUpdate.fast_path is not None
    assert adapted(tiny.model) and not any(layer.is_fast for layer in adapted(tiny.model))
    move(method)
    before = tiny.logits()
    for update in method.updates.values():
        update.gate.data *= 2
    assert (tiny.logits() - before).abs().max() > 1e-3
    check_fast_is_dense(lab, monkeypatch, family, spec)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fast_path_that_forgets_the_gate_is_noticed_and_one_that_has_it_passes(lab, monkeypatch, gated, family):
    def forgetful(updates, x, linear):
        pairs = [tensor for update in updates for tensor in (update.a, update.b)]
        scale = updates[0].scale
        return low_rank_linear(x, linear.weight, linear.bias, linear.transposed, scale, linear.spans, pairs)

    spec = gated_spec(gated)
    monkeypatch.setattr(gated.GatedUpdate, "fast_path", staticmethod(LowRankUpdate.fast_path))
    check_fast_is_dense(lab, monkeypatch, family, spec)
    monkeypatch.setattr(gated.GatedUpdate, "fast_path", staticmethod(forgetful))
    with pytest.raises((AssertionError, RuntimeError)):  # the gate would have no gradient at all
        check_fast_is_dense(lab, monkeypatch, family, spec)


def halving(gated, at=3):
    """The gated update, its rank halved after step `at`."""
    return gated_spec(gated, schedule=importlib.import_module("halved").Halved("halved", at))


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_gated_update_keeps_the_contract(lab, gated, family, chained):
    """Start, gradients, frozen weights and merge, with and without a link's end."""
    tiny, spec = lab.tiny(family), gated_spec(gated, schedule=SPECS["cola" if chained else "lora"].schedule)
    start, plain = tiny.logits().detach(), {n: p.clone() for n, p in tiny.model.named_parameters()}
    method = lab.attach(tiny, spec)
    assert torch.equal(tiny.logits(), start)
    lab.train(tiny, method, 5, total=6)
    tiny.loss().backward()
    trained = [p for group in method.groups(1.0, 1.0, 0.0) for p in group["params"]]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    assert method.counts()["adapter"] == sum(p.numel() for u in method.updates.values() for p in (u.a, u.b, u.gate))
    with torch.no_grad():
        before = tiny.logits()
        method.merge()
        assert (tiny.logits() - before).abs().max() < 1e-5 * before.abs().max()
    touched = {n for n, p in tiny.model.named_parameters() if not torch.equal(p, plain[n])}
    free = {f"{site.module_path}.weight" for site in method.sites}
    assert free <= touched and all(n.startswith(tiny.layout.head or ("no head",)) for n in touched - free)


def test_a_changed_rank_gives_new_parameters_without_moments_and_leaves_the_heads(lab, gated):
    tiny = lab.tiny("roberta")
    method = lab.attach(tiny, halving(gated))
    ranks, steps = {}, {}

    def look(step):
        ranks[step] = {u.a.shape[0] for u in method.updates.values()}
        states = {g["name"]: [optimizer.state.get(p, {}) for p in g["params"]] for g in optimizer.param_groups}
        steps[step] = {name: {int(s["step"]) for s in each if s} for name, each in states.items()}

    optimizer = torch.optim.AdamW(method.groups(1e-2, 1e-2, 0.0))
    lab.train(tiny, method, 5, optimizer=optimizer, watch=look)
    assert ranks == {1: {4}, 2: {4}, 3: {2}, 4: {2}, 5: {2}}
    assert steps[3]["adapter"] == set() and steps[3]["head"] == {3}
    assert steps[5]["adapter"] == {2} and steps[5]["head"] == {5}
    trained = {id(p) for u in method.updates.values() for p in u.parameters()}
    (adapter,) = (group for group in optimizer.param_groups if group["name"] == "adapter")
    assert {id(p) for p in adapter["params"]} == trained and method.history() == [{"step": 3, "rank": 2}]


def test_a_model_restored_after_a_change_of_rank_goes_on_and_goes_back_bit_for_bit(lab, gated):
    first, second = lab.tiny(), lab.tiny()
    method = lab.attach(first, halving(gated))
    optimizer = lab.train(first, method, 2, total=6)
    early, early_facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    then = first.logits().detach()
    lab.train(first, method, 4, first=2, total=6, optimizer=optimizer)
    kept, facts = {n: t.contiguous().clone() for n, t in method.tensors().items()}, method.facts()  # as files hold them
    moments = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(first, method, 6, first=4, optimizer=optimizer)

    resumed = lab.attach(second, halving(gated), seed=5)
    resumed.restore(kept, facts)
    again = torch.optim.AdamW(resumed.groups(1e-2, 1e-2, 0.0))
    again.load_state_dict({"state": moments, "param_groups": again.state_dict()["param_groups"]})
    lab.train(second, resumed, 6, first=4, optimizer=again)
    assert torch.equal(first.logits(), second.logits()) and resumed.history() == method.history()
    method.restore(early, early_facts)
    assert torch.equal(first.logits(), then) and method.history() == []


def test_a_parameter_that_grows_keeps_its_moments_and_has_none_for_its_new_rows(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, SPECS["lora"])
    optimizer = lab.train(tiny, method, 3)
    update = next(iter(method.updates.values()))
    before, old = tiny.logits().detach(), optimizer.state[update.b]["exp_avg"].clone()

    def wider(t):
        return torch.cat([t, t.new_zeros(t.shape[0], 2)], dim=1)

    def longer(t):
        return torch.cat([t, t.new_zeros(2, t.shape[1])], dim=0)

    a = torch.cat([update.a.detach(), torch.randn(2, update.a.shape[1])], dim=0)
    replaced = (update.replace("b", wider(update.b.detach()), wider), update.replace("a", a, longer))
    apply_change(optimizer, replace(NO_CHANGE, replaced=replaced), lambda: method.groups(1e-2, 1e-2, 0.0))
    assert torch.allclose(tiny.logits(), before, atol=1e-6)
    state = optimizer.state[update.b]
    assert torch.equal(state["exp_avg"], wider(old)) and state["step"] == 3
    lab.train(tiny, method, 5, first=3, optimizer=optimizer)
    assert update.b[:, 4:].abs().max() > 0


def test_a_penalty_of_an_update_is_summed_over_the_sites(lab, gated, monkeypatch):
    monkeypatch.setattr(gated.GatedUpdate, "penalty", lambda self: 0.5 * self.gate.abs().mean(), raising=False)
    method = lab.attach(lab.tiny(), gated_spec(gated))
    assert method.penalty().item() == pytest.approx(0.5 * len(method.updates))
    assert lab.attach(lab.tiny(), SPECS["lora"]).penalty() is None


def test_gradients_are_still_there_after_the_step(lab, gated, monkeypatch):
    seen = []
    monkeypatch.setattr(gated.GatedUpdate, "after_step", lambda self, progress: seen.append(self.gate.grad))
    tiny = lab.tiny()
    lab.train(tiny, lab.attach(tiny, gated_spec(gated)), 3)
    assert len(seen) == 12 and all(gradient is not None for gradient in seen)


@pytest.mark.parametrize("name", ["cola", "ba_sparse_lora", "adalora"])
def test_begin_refuses_what_has_no_room(lab, name):
    changes = {"cola": {"links": 5}, "ba_sparse_lora": {"every": 5}, "adalora": {"options": {"tinit": 2, "tfinal": 1}}}
    method = lab.attach(lab.tiny(), lab.spec(name, **changes[name]))
    with pytest.raises(ValueError, match=f"^{name}: .*4"):
        method.begin(Training(4, 2, 1e-3))


@pytest.mark.parametrize("shape", [(4, 64), (64, 4)])
def test_kaimings_bound_is_of_the_inputs_which_are_the_columns(shape):
    values = factor("kaiming_uniform", shape, torch.Generator().manual_seed(0))
    bound = shape[1] ** -0.5
    assert 0.9 * bound < values.abs().max() <= bound


def test_normal_first_values_have_the_studys_deviation_and_frames_are_orthonormal():
    normal = factor("normal", (100, 400), torch.Generator().manual_seed(0))
    assert normal.std().item() == pytest.approx(0.02, rel=0.02) and abs(normal.mean().item()) < 1e-3
    frame = factor("orthonormal", (8, 32), torch.Generator().manual_seed(0))
    assert torch.allclose(frame @ frame.T, torch.eye(8), atol=1e-6)


def test_the_cast_error_of_a_link_is_what_rounding_w_lost(lab):
    """Against W0 + s·B·A in float32 and the bfloat16 weights that are there."""
    tiny = lab.tiny("llama", dtype=torch.bfloat16)
    tiny.autocast = True
    method = lab.attach(tiny, lab.spec("cola", links=2))
    start = lab.weights(tiny, method)
    lab.train(tiny, method, 3, total=4)
    (link,) = method.history()
    lost, size = 0.0, 0.0
    for site in method.sites:
        state = {n: method.tensors()[f"link.0.{site.path}.{n}"] for n in "ab"}
        delta = 2.0 * state["b"] @ state["a"]
        size += delta.square().sum().item()
        lost += (start[site.path].float() + delta - site.weight.float()).square().sum().item()
    assert link["cast_error"] == pytest.approx((lost / size) ** 0.5, rel=1e-4) and link["cast_error"] > 1e-3
