"""LoRA-Squeeze as schedules: what stays, what is renewed, and what is refused."""

from dataclasses import replace

import pytest
import torch

from harness.training.optimizer import apply_change
from methods.errors import MethodError
from methods.method import Progress
from methods.training import Training
from methods.why_not import why_not, why_not_train


def trained(lab, spec, steps=3, dtype=torch.float64):
    """A model with an update that has come off zero, before any change of rank."""
    tiny = lab.tiny("roberta", dtype=dtype)
    method = lab.attach(tiny, spec)
    optimizer = lab.train(tiny, method, steps, total=14)
    return tiny, method, optimizer


def squeezed_from(lab, rank):
    """A plainly trained model, and another that starts from it at a rank."""
    source, method, _ = trained(lab, lab.spec("lora"))
    tiny = lab.tiny("roberta", dtype=torch.float64)
    post = lab.attach(tiny, post_spec(lab, rank))
    post.start({name: tensor.clone() for name, tensor in method.tensors().items()})
    return source, method, tiny, post


def post_spec(lab, rank, name="squeeze_post"):
    spec = lab.spec(name)
    return replace(spec, schedule=replace(spec.schedule, rank=rank))


def in_spec(lab, **changes):
    spec = lab.spec("squeeze_in")
    return replace(spec, schedule=replace(spec.schedule, **changes))


def test_a_squeeze_that_keeps_the_rank_leaves_the_outputs(lab):
    source, _, tiny, post = squeezed_from(lab, 4)
    torch.testing.assert_close(tiny.logits(), source.logits(), rtol=1e-10, atol=1e-11)
    (entry,) = post.history()
    assert (entry["step"], entry["rank_before"], entry["rank"]) == (0, 4, 4)
    assert all(kept == pytest.approx(1) for kept in entry["variance_kept"].values())


@pytest.mark.parametrize("core", ["qr", "exact", "randomised"])
def test_each_update_is_the_best_of_its_rank_and_the_scale_stays(lab, core):
    tiny, method, _ = trained(lab, in_spec(lab, core=core))
    before = {path: update.delta().detach() for path, update in method.updates.items()}
    lab.train(tiny, method, 8, first=3, total=14, lr=0.0)  # the first of 4 + 2 + 1 parts ends after step 8
    kept = method.history()[0]["variance_kept"]
    for path, update in method.updates.items():
        u, s, v = torch.linalg.svd(before[path], full_matrices=False)
        torch.testing.assert_close(update.delta().detach(), (u[:, :2] * s[:2]) @ v[:2], rtol=1e-6, atol=1e-10)
        assert kept[path] == pytest.approx(float((s[:2] ** 2).sum() / (s**2).sum()), rel=1e-6)
        assert update.scale == 2.0 and float(update.a.detach().norm()) == pytest.approx(float(update.b.detach().norm()))


def test_every_parameter_has_a_gradient_after_each_change_even_of_an_update_that_is_zero(lab):
    tiny = lab.tiny("roberta", dtype=torch.float64)
    method = lab.attach(tiny, in_spec(lab))
    method.begin(Training(14, 2, 1e-2))
    start, ranks = tiny.logits().detach(), []
    for step in (8, 12):  # nothing was trained: all directions are new
        method.after_step(Progress(step, 14, 2))
        assert torch.equal(tiny.logits(), start)
        tiny.loss().backward()
        for update in method.updates.values():
            assert (update.b.grad.norm(dim=0) > 0).all() and (update.a.norm(dim=1) > 0).all()
        ranks.append({update.a.shape[0] for update in method.updates.values()})
    assert ranks == [{2}, {1}]
    lab.train(tiny, method, 13, first=12, total=14)
    tiny.loss().backward()
    assert all((p.grad != 0).any() for update in method.updates.values() for p in update.parameters())


def test_a_zero_update_starts_a_continued_run_with_gradients(lab):
    tiny = lab.tiny("roberta", dtype=torch.float64)
    post = lab.attach(tiny, post_spec(lab, 2, "squeeze_cont"))
    start = tiny.logits().detach()
    post.start({name: tensor.clone() for name, tensor in post.tensors().items()})
    assert torch.equal(tiny.logits(), start)
    tiny.loss().backward()
    assert all((update.b.grad.norm(dim=0) > 0).all() for update in post.updates.values())


def after_a_change(lab, moments):
    """The adapter's factors, moments and the change itself, of one site, before and after."""
    _, method, optimizer = trained(lab, in_spec(lab, moments=moments), steps=7)
    update = next(iter(method.updates.values()))
    old = {"b": update.b, "a": update.a}
    before = {name: dict(optimizer.state[p]) for name, p in old.items()}
    apply_change(optimizer, method.after_step(Progress(8, 14, 2)), lambda: method.groups(1e-2, 1e-2, 0.0))
    return update, old, before, optimizer, method


def test_moments_are_renewed_at_a_change_and_those_of_the_head_stay(lab):
    update, old, _, optimizer, method = after_a_change(lab, "renewed")
    assert not any(p in optimizer.state for p in (*old.values(), update.a, update.b))
    assert all(int(optimizer.state[p]["step"]) == 7 for p in method.head_parameters().values())


def test_projected_first_moments_are_the_gradients_of_the_new_factors(lab):
    """A moment g·Aᵀ of B, of any gradient g of ΔW, becomes g·A'ᵀ where A' is a part of A's rows; B alike."""
    update, old, before, optimizer, _ = after_a_change(lab, "projected")
    b, a = old["b"].detach(), old["a"].detach()
    n = torch.linalg.lstsq(b, update.b.detach()).solution  # B' = B·N
    m = torch.linalg.lstsq(a.T, update.a.detach().T).solution.T  # A' = M·A
    for name, first, second in (
        ("b", before["b"]["exp_avg"] @ m.T, before["b"]["exp_avg_sq"] @ m.T.square()),
        ("a", n.T @ before["a"]["exp_avg"], n.T.square() @ before["a"]["exp_avg_sq"]),
    ):
        state = optimizer.state[getattr(update, name)]
        torch.testing.assert_close(state["exp_avg"], first, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(state["exp_avg_sq"], second, rtol=1e-6, atol=1e-15)
        assert (state["exp_avg_sq"] >= 0).all() and int(state["step"]) == 7


@pytest.mark.parametrize("moments", ["renewed", "projected"])
@pytest.mark.parametrize("stop", [5, 10])
def test_a_run_resumed_in_mid_stage_goes_on_bit_for_bit(lab, moments, stop):
    first, second, spec = lab.tiny("vit"), lab.tiny("vit"), in_spec(lab, moments=moments)
    method = lab.attach(first, spec)
    optimizer = lab.train(first, method, stop, total=14)
    kept, facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    slots = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(first, method, 14, first=stop, total=14, optimizer=optimizer)
    resumed = lab.attach(second, spec)
    resumed.restore(kept, facts)
    again = torch.optim.AdamW(resumed.groups(1e-2, 1e-2, 0.0))
    again.load_state_dict({"state": slots, "param_groups": again.state_dict()["param_groups"]})
    lab.train(second, resumed, 14, first=stop, total=14, optimizer=again)
    assert torch.equal(first.logits(), second.logits()) and resumed.history() == method.history()


def test_a_state_of_a_larger_rank_is_no_candidate(lab):
    tiny, method, optimizer = trained(lab, in_spec(lab))
    wide = method.facts()
    assert not method.outdates(wide)
    lab.train(tiny, method, 9, first=3, total=14, optimizer=optimizer)
    assert method.outdates(wide) and not method.outdates(method.facts())


@pytest.mark.parametrize(
    ("changes", "total", "says"),
    [
        ({}, 2, "3 stages of at least 1 steps do not fit into 2 steps; train longer"),
        ({}, 3, "that of rank 1 would have none"),
        ({"minimum": 200}, 599, "3 stages of at least 200 steps do not fit into 599 steps"),
        ({"ranks": (8, 4)}, 99, "schedule.ranks begins with 8, and method.update.rank is 4."),
        ({"ranks": (4, 4, 1)}, 99, "schedule.ranks [4, 4, 1] do not fall."),
    ],
)
def test_stages_that_cannot_be_are_a_sentence_when_planning_and_before_the_first_step(lab, changes, total, says):
    spec, training = in_spec(lab, **changes), Training(total, 2, 1e-3)
    assert says in (why_not_train(spec, training) or "")
    with pytest.raises(MethodError, match="squeeze_in: "):
        lab.attach(lab.tiny(), spec).begin(training)


def test_what_cannot_be_compressed_is_a_sentence(lab):
    targets = {"q": "query", "v": "value"}
    chains = replace(lab.spec("cla"), schedule=lab.spec("squeeze_in").schedule)
    assert "compresses a low_rank update" in (why_not(chains, targets=targets) or "")
    assert "schedule.rank 8 is above the rank that is compressed, 4" in (
        why_not(post_spec(lab, 8), targets=targets) or ""
    )
    ranked = replace(lab.spec("squeeze_in"), ranks={"q": 8})
    assert "method.ranks has no place" in (why_not(ranked, targets=targets) or "")
    assert "recipe.max_steps=0" in (why_not_train(lab.spec("squeeze_post"), Training(5, 2, 1e-3)) or "")
    assert "trains on" in (why_not_train(lab.spec("squeeze_cont"), Training(0, 2, 1e-3)) or "")
