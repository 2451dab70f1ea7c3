"""The orthogonality penalty of O-LoRA against dense maths in float64, and what it is for."""

import pytest
import torch

from tests.methods.conftest import SIZES


def source(lab, seed=5, name="lora", **changes):
    """Tensors of a run of another task: everything off its first values."""
    tiny = lab.tiny("bert", dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name, **changes))
    generator = torch.Generator().manual_seed(seed)
    return {
        path: torch.randn(tensor.shape, generator=generator).to(tensor.dtype) if tensor.numel() else tensor
        for path, tensor in method.tensors().items()
    }


def beside(lab, tensors, **changes):
    tiny = lab.tiny("bert", dtype=torch.float64)
    method = lab.attach(tiny, lab.spec("lora_orthogonal", **changes))
    method.start(tensors)
    return tiny, method


def overlap(method, tensors):
    """Σ ‖A·A'ᵀ‖_F² over weights, A' of the source."""
    pairs = [(update.a, tensors[f"adapter.{path}.a"]) for path, update in method.updates.items()]
    return sum(torch.einsum("ij,kj->ik", a.detach(), other).square().sum().item() for a, other in pairs)


def test_the_penalty_is_the_sum_over_all_tasks_before_and_its_gradient_is_that_of_the_formula(lab):
    first = source(lab, rank=3)
    _, second = beside(lab, first)
    _, third = beside(lab, {name: tensor.clone() for name, tensor in second.tensors().items()}, orthogonal=2.0)
    own = {f"adapter.{path}.a": update.a.detach() for path, update in second.updates.items()}
    assert third.penalty().item() == pytest.approx(2.0 * (overlap(third, first) + overlap(third, own)), rel=1e-12)
    assert second.penalty().item() == pytest.approx(0.5 * overlap(second, first), rel=1e-12)
    third.penalty().backward()
    for path, update in third.updates.items():
        others = torch.cat([first[f"adapter.{path}.a"], own[f"adapter.{path}.a"]])
        torch.testing.assert_close(update.a.grad, 2 * 2.0 * update.a.detach() @ others.T @ others)
        assert update.b.grad is None


def test_a_second_task_begins_with_a_head_and_factors_of_its_own(lab):
    tensors = source(lab)
    plain, fresh = lab.tiny("bert", dtype=torch.float64), lab.tiny("bert", dtype=torch.float64)
    tiny, method = beside(lab, tensors)
    assert torch.equal(tiny.logits(), plain.logits()), "as pretrained, whatever the source has learned"
    same_seed = lab.attach(fresh, lab.spec("lora"))
    for path, update in method.updates.items():
        assert not torch.equal(update.a, same_seed.updates[path].a), "not the A that the source began with"
        assert torch.equal(update.others, tensors[f"adapter.{path}.a"])
    assert lab.attach(lab.tiny(), lab.spec("lora_orthogonal", orthogonal=0.0)).penalty() is None


def test_with_the_penalty_the_second_task_does_nothing_where_the_first_one_reads(lab):
    """Inputs in the row space of A' are all that the first task's update sees: ΔW·x is near zero there."""
    tensors, moved = source(lab), {}
    for weight in (0.0, 10.0):
        tiny, method = beside(lab, tensors, orthogonal=weight)
        lab.train(tiny, method, 40)
        update = next(iter(method.updates.values()))
        delta = update.delta().detach()
        q, _ = torch.linalg.qr(update.others.T)
        moved[weight] = ((delta @ q).norm() / delta.norm()).item()
    chance = (4 / SIZES["hidden_size"]) ** 0.5  # of a random subspace of as many directions
    assert moved[10.0] < 0.1 * chance < chance / 2 < moved[0.0]
