"""DyLoRA, SoRA, L1RA and AutoLoRA against their rules written out densely, in float64."""

from dataclasses import replace

import pytest
import torch

from harness.training.optimizer import set_rate
from methods.export import peft_adapter
from methods.method import Progress
from methods.training import Training
from methods.why_not import why_not, why_not_train

TARGETS = {"q": "attention.query", "v": "attention.value"}


def attached(lab, name, family="llama", **changes):
    tiny = lab.tiny(family, dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name, **changes))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for update in method.updates.values():
            update.b.copy_(torch.randn(update.b.shape, generator=generator))
    return tiny, method


RANK_METHODS = ("dylora", "sora", "l1ra", "autolora", "sine_lora", "lr_lora", "grow", "hierarchical")


@pytest.mark.parametrize("name", RANK_METHODS)
def test_every_parameter_has_a_gradient_at_step_0_and_b_of_every_weight_one_that_moves_it(lab, name):
    tiny = lab.tiny("llama", dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name))
    tiny.loss().backward()
    trained = [p for group in method.groups(1.0, 1.0, 0.0) for p in group["params"]]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained)
    assert all(update.b.grad.abs().max() > 1e-9 for update in method.updates.values())


# DyLoRA


@pytest.mark.parametrize("freeze", [True, False])
def test_a_step_of_dylora_is_of_the_first_components_and_trains_the_last_of_them(lab, freeze):
    """Scale alpha / b; with `freeze` the components before the b-th get no gradient."""
    tiny, method = attached(lab, "dylora", freeze=freeze)
    update = next(iter(method.updates.values()))
    x = torch.randn(2, 3, update.site.in_features, dtype=torch.float64)
    for step in range(20):
        update.after_step(Progress(step, 20, 5))
        b = update.drawn
        expected = x @ ((8.0 / b) * update.b[:, :b] @ update.a[:b]).T
        assert torch.allclose(update.branch(x), expected, atol=1e-12)
        tiny.model.zero_grad()
        update.branch(x).square().sum().backward()
        moved = (update.b.grad.abs().sum(0) > 0).tolist()
        assert moved == [index == b - 1 if freeze else index < b for index in range(4)]


def test_all_weights_have_the_same_rank_in_a_step_and_every_rank_comes(lab):
    tiny, method = attached(lab, "dylora")
    ranks = []
    lab.train(tiny, method, 30, watch=lambda step: ranks.append({u.drawn for u in method.updates.values()}))
    assert all(len(each) == 1 for each in ranks) and set.union(*ranks) == {1, 2, 3, 4}
    again = [*ranks]
    other_tiny, other = attached(lab, "dylora")
    ranks.clear()
    lab.train(other_tiny, other, 30, watch=lambda step: ranks.append({u.drawn for u in other.updates.values()}))
    assert ranks == again


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_dylora_is_served_and_merged_and_exported_at_every_rank(lab, rank):
    tiny, method = attached(lab, "dylora")
    tiny.model.eval()
    deltas = {}
    for path, update in method.updates.items():
        update.serve(rank)
        deltas[path] = (8.0 / rank) * update.b[:, :rank] @ update.a[:rank]
    plain, start = lab.tiny("llama", dtype=torch.float64), lab.weights(tiny, method)
    for site in method.sites:
        plain.model.get_submodule(site.path).weight.data += deltas[site.path]
    served = tiny.logits()
    assert torch.allclose(served, plain.logits(), atol=1e-10)
    config, tensors = peft_adapter(method)
    assert config["r"] == rank
    for path, delta in deltas.items():
        b, a = (tensors[f"base_model.model.{path}.lora_{name}.weight"] for name in "BA")
        assert torch.allclose((b @ a).double(), delta, atol=1e-4)
    method.merge()
    assert torch.allclose(tiny.logits(), served, atol=1e-10)
    assert all(not torch.equal(site.weight, start[site.path]) for site in method.sites)


def test_dylora_is_not_served_at_a_rank_it_does_not_have(lab):
    _, method = attached(lab, "dylora")
    with pytest.raises(ValueError, match="rank 5 is not one of 1 to 4"):
        next(iter(method.updates.values())).serve(5)


# SoRA


def test_the_gate_is_moved_by_the_proximal_operator_and_not_by_twice_of_it(lab):
    """sign(g)·max(|g| - ξ, 0): what lies between ξ and 2ξ stays."""
    _, method = attached(lab, "sora", shrink=0.1)
    update = next(iter(method.updates.values()))
    before = torch.tensor([0.5, -0.15, 0.05, -0.1], dtype=torch.float64)
    update.gate.data.copy_(before)
    update.after_step(Progress(1, 10, 5))
    expected = before.sign() * (before.abs() - 0.1).clamp_min(0)
    assert torch.allclose(update.gate, expected, atol=1e-15)
    assert (update.gate == 0).tolist() == [False, False, True, True]
    z = torch.linspace(-1, 1, 20001, dtype=torch.float64)  # the operator's definition: argmin_z ½(z - g)² + ξ|z|
    best = [z[(0.5 * (z - g).square() + 0.1 * z.abs()).argmin()] for g in before]
    assert torch.allclose(update.gate, torch.stack(best), atol=1e-4)


@pytest.mark.parametrize("ranks", [{}, {"q": 2}])
def test_the_penalty_is_lambda_times_the_mean_gate_over_all_weights(lab, ranks):
    tiny = lab.tiny("llama", dtype=torch.float64)
    method = lab.attach(tiny, replace(lab.spec("sora", l1=10.0), ranks=ranks))
    gates = torch.cat([update.gate for update in method.updates.values()])
    assert method.penalty().item() == pytest.approx(10.0 * gates.abs().sum().item() / len(gates), rel=1e-12)
    assert attached(lab, "sora", l1=0.0)[1].penalty() is None


@pytest.mark.parametrize("name", ["sora", "l1ra"])
def test_gates_reach_exactly_zero_in_training_and_leave_the_adapter(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name, shrink=0.05))
    lab.train(tiny, method, 25)
    (entry,) = [entry for entry in method.history() if entry["event"] == "ranks"]
    gates = {path: update.gate for path, update in method.updates.items()}
    assert any((gate == 0).any() for gate in gates.values())
    assert all(entry["sites"][path]["rank"] == int((gate != 0).sum()) for path, gate in gates.items())
    tiny.model.eval()
    _, tensors = peft_adapter(method)
    for path, gate in gates.items():
        a = tensors[f"base_model.model.{path}.lora_A.weight"]
        assert a.shape[0] == max(1, int((gate != 0).sum()))


def test_gates_are_normal_for_sora_and_ones_for_l1ra(lab):
    normal = torch.cat([u.gate for u in lab.attach(lab.tiny(), lab.spec("sora", rank=200)).updates.values()])
    assert normal.std().item() == pytest.approx(1.0, rel=0.1) and abs(normal.mean().item()) < 0.1
    assert all(bool((u.gate == 1).all()) for u in lab.attach(lab.tiny(), lab.spec("l1ra")).updates.values())


# L1RA


def test_the_gates_of_l1ra_have_a_rate_of_their_own_that_no_schedule_moves(lab):
    method = lab.attach(lab.tiny(), lab.spec("l1ra"))
    groups = [group | {"base_lr": group["lr"]} for group in method.groups(1e-3, 5e-4, 0.1)]
    optimizer = torch.optim.AdamW(groups)
    set_rate(optimizer, 0.25)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["gate"] == 2e-2 and rates["adapter"] == 2.5e-4 and rates["head"] == 1.25e-4
    gates = {id(update.gate) for update in method.updates.values()}
    (group,) = [group for group in optimizer.param_groups if group["name"] == "gate"]
    assert {id(p) for p in group["params"]} == gates and group["weight_decay"] == 0.0


def after_round(lab, gates, **changes):
    """One round on a model whose weights have these gates; (method, ranks, change)."""
    _, method = attached(lab, "l1ra", rounds=10, **changes)
    for update, gate in zip(method.updates.values(), gates, strict=True):
        update.gate.data.copy_(torch.tensor(gate))
    method.begin(Training(20, 10, 1e-3))
    change = method.schedule.after_step(Progress(2, 20, 10))
    return method, [len(update.gate) for update in method.updates.values()], change


def test_what_is_cut_goes_round_the_weights_that_lost_nothing_the_surest_first(lab):
    """Four weights of rank 4: five components go, the weight with the largest least gate gets three, the other two."""
    gates = [[1, 1, 0, -0.5], [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0], [0.5, 0.5, 0.4, 0.3]]
    method, ranks, change = after_round(lab, gates)
    assert ranks == [2, 7, 1, 6] and sum(ranks) == 16
    assert method.history()[0] == {
        "event": "reassign",
        "step": 2,
        "ranks": dict(zip(method.updates, ranks, strict=True)),
    }
    assert change.event == method.history()[0]
    first, second = list(method.updates.values())[:2]
    assert first.gate.tolist() == [1, 1]
    assert second.gate[4:].tolist() == [1, 1, 1] and second.b[:, 4:].abs().max() == 0
    assert second.a[4:].std().item() == pytest.approx(1 / 7, rel=0.3)
    assert {id(r.new) for r in change.replaced} == {id(p) for u in method.updates.values() for p in u.parameters()}
    assert all(replaced.moments is None for replaced in change.replaced)


def test_a_weight_keeps_one_component_and_nothing_is_lost_when_nobody_can_take_it(lab):
    method, ranks, _ = after_round(lab, [[-1, -2, 0, -3], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]])
    assert ranks == [1, 3, 3, 2] and next(iter(method.updates.values())).gate.tolist() == [0]
    for update in method.updates.values():
        update.gate.data.fill_(1.0)
    method.schedule.after_step(Progress(4, 20, 10))
    assert sum(len(update.gate) for update in method.updates.values()) == 16  # what waited is given out


def test_no_weight_grows_beyond_its_own_width(lab):
    """Llama's v has 16 rows."""
    gates = [[0.0] * 15 + [1.0], [1.0] * 16, [0.0] * 15 + [1.0], [1.0] * 16]
    method, ranks, _ = after_round(lab, gates, rank=16)
    caps = [min(site.in_features, site.out_features) for site in method.sites]
    assert caps == [32, 16, 32, 16] and ranks == [1, 16, 1, 16]


def test_a_round_changes_the_function_by_what_it_cut_and_nothing_else(lab):
    tiny, method = attached(lab, "l1ra", rounds=10)
    for number, update in enumerate(method.updates.values()):
        update.gate.data.copy_(torch.tensor([1.0, 0.0, 0.5, 2.0]) if number == 0 else torch.ones(4))
    before = tiny.logits().detach()
    method.begin(Training(20, 10, 1e-3))
    assert method.schedule.after_step(Progress(2, 20, 10)).replaced
    assert torch.allclose(tiny.logits(), before, atol=1e-12)
    assert method.schedule.after_step(Progress(3, 20, 10)).event is None  # no round
    assert method.schedule.after_step(Progress(4, 20, 10)).event is None  # nothing to cut
    assert method.schedule.after_step(Progress(20, 20, 10)).event is None  # never at the end


def test_l1ra_resumes_bit_for_bit_after_its_ranks_moved(lab):
    spec = lab.spec("l1ra", shrink=0.15, rounds=5)
    one, two = lab.tiny(), lab.tiny()
    method = lab.attach(one, spec)
    optimizer = lab.train(one, method, 12, total=20)
    assert [entry for entry in method.history() if entry["event"] == "reassign"]
    kept, facts = {n: t.contiguous().clone() for n, t in method.tensors().items()}, method.facts()
    moments = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(one, method, 20, first=12, optimizer=optimizer)
    again = lab.attach(two, spec, seed=0)
    again.restore(kept, facts)
    other = torch.optim.AdamW(again.groups(1e-2, 1e-2, 0.0))
    other.load_state_dict({"state": moments, "param_groups": other.state_dict()["param_groups"]})
    lab.train(two, again, 20, first=12, optimizer=other)
    assert torch.equal(one.logits(), two.logits()) and again.history() == method.history()


def test_a_schedule_of_ranks_says_what_it_cannot_change(lab):
    reassign = lab.spec("l1ra", rounds=10).schedule
    why = why_not(replace(lab.spec("lora"), schedule=reassign), targets=TARGETS)
    assert why == "lora: reassign changes the rank of gated, not of low_rank."
    assert "10 rounds need as many optimizer steps; the run has 9." in why_not_train(
        lab.spec("l1ra", rounds=10), Training(9, 3, 1e-3)
    )


# AutoLoRA


def test_autolora_weighs_its_components_by_softmax(lab):
    _, method = attached(lab, "autolora")
    update = next(iter(method.updates.values()))
    assert torch.equal(update.selection, torch.ones(4))
    with torch.no_grad():
        update.selection.copy_(torch.tensor([0.0, 1.0, -1.0, 2.0]))
    shares = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64).exp()
    expected = 2.0 * update.b @ torch.diag(shares / shares.sum()) @ update.a
    assert torch.allclose(update.delta(), expected, atol=1e-12)


def test_autolora_selects_what_weighs_at_least_a_fair_share_and_begins_anew(lab):
    """The function is that at attach, no moment is left, and the selection variables are gone from the groups."""
    tiny = lab.tiny("llama", dtype=torch.float64)
    start = tiny.logits().detach()
    method = lab.attach(tiny, lab.spec("autolora"))
    paths = list(method.updates)
    wanted = {path: number % 4 + 1 for number, path in enumerate(paths)}

    def weigh(step):
        if step < 4:
            for path in paths:
                values = torch.arange(4) < wanted[path]
                method.updates[path].selection.data = values.double()

    optimizer = lab.train(tiny, method, 3, total=8, watch=weigh)
    assert not torch.equal(tiny.logits(), start)
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group["name"] == "selection" else group["lr"]
    lab.train(tiny, method, 4, first=3, total=8, optimizer=optimizer)
    assert torch.equal(tiny.logits(), start)
    assert {path: update.a.shape[0] for path, update in method.updates.items()} == wanted
    assert not optimizer.state and "selection" not in {group["name"] for group in optimizer.param_groups}
    assert method.history()[0]["ranks"] == wanted
