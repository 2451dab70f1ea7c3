"""Adafactor at a given rate: its rule written out in float64, torch's own where both are one, and what it keeps."""

from types import SimpleNamespace

import pytest
import torch

from harness.measure.memory_breakdown import optimizer_bytes, storage_bytes
from harness.training.adafactor import COLUMN, ROW
from harness.training.optimizer import apply_change, build_optimizer, load_optimizer
from methods.method import Change, Replaced

SHAPES = ((6, 4), (5,))
STEPS = 12


def parameters(dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)) for shape in SHAPES]


def gradients(steps):
    rng = torch.Generator().manual_seed(1)
    return [[torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES] for _ in range(steps)]


def built(params, recipe, **change):
    groups = [{"name": "adapter", "params": params, "lr": change.get("lr", 1e-3), "weight_decay": 0.0}]
    method = SimpleNamespace(groups=lambda lr, head_lr, decay: groups)
    return build_optimizer(method, recipe(optimizer="adafactor", **change))


def train(optimizer, params, some):
    for of_step in some:
        for parameter, gradient in zip(params, of_step, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()


def rule(weights, some, rate):
    """Algorithms 4 and 5 of the paper: factored second moments, update clipping, a rate times the weights' scale."""
    weights = [weight.detach().clone() for weight in weights]
    moments = [(torch.zeros_like(w.sum(-1)), torch.zeros_like(w.sum(-2))) if w.ndim > 1 else None for w in weights]
    plain = [torch.zeros_like(w) for w in weights]
    for t, of_step in enumerate(some, start=1):
        decay = 1 - t**-0.8
        for i, gradient in enumerate(of_step):
            square = gradient**2 + 1e-30
            if moments[i] is not None:
                row, column = (
                    decay * m + (1 - decay) * square.mean(d) for m, d in zip(moments[i], (-1, -2), strict=True)
                )
                moments[i], variance = (row, column), torch.outer(row, column) / row.mean()
            else:
                variance = plain[i] = decay * plain[i] + (1 - decay) * square
            update = gradient / variance.sqrt()
            update = update / max(1.0, float(update.square().mean().sqrt()))
            weights[i] -= rate * max(1e-3, float(weights[i].square().mean().sqrt())) * update
    return weights


def test_every_step_is_that_of_the_papers_rule_at_the_recipes_rate(recipe):
    params = parameters()
    expected = rule(params, gradients(STEPS), 0.05)
    train(built(params, recipe, lr=0.05), params, gradients(STEPS))
    for ours, theirs in zip(params, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-10, atol=1e-12)


def test_torchs_own_agrees_until_it_lowers_the_rate(recipe):
    """Its rate is min(lr, 1/√step): at 0.3 the rates part after step 11."""
    ours, theirs = parameters(), parameters()
    torchs = torch.optim.Adafactor(theirs, lr=0.3, eps=(1e-30, 1e-3), weight_decay=0.0)
    optimizer, some = built(ours, recipe, lr=0.3), gradients(20)
    for params, stepped in ((ours, optimizer), (theirs, torchs)):
        train(stepped, params, some[:11])
    assert all(torch.allclose(a, b, rtol=1e-8) for a, b in zip(ours, theirs, strict=True))
    for params, stepped in ((ours, optimizer), (theirs, torchs)):
        train(stepped, params, some[11:])
    assert not any(torch.allclose(a, b, rtol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_what_it_keeps_is_a_row_and_a_column_of_each_matrix_and_is_counted_before_the_first_step(recipe):
    params = parameters(torch.float32)
    optimizer = built(params, recipe)
    before = optimizer_bytes(optimizer)
    train(optimizer, params, gradients(1))
    slots = [value for state in optimizer.state.values() for value in state.values()]
    assert before == storage_bytes(value for value in slots if isinstance(value, torch.Tensor))
    assert before == optimizer_bytes(optimizer) == 4 * (6 + 4 + 1) + 4 * (5 + 1)  # and the scale of each


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_bit_for_bit(recipe, dtype):
    straight, stopped, some = parameters(dtype), parameters(dtype), gradients(STEPS)
    train(built(straight, recipe), straight, some)
    first = built(stopped, recipe)
    train(first, stopped, some[:5])
    resumed = built(stopped, recipe)
    load_optimizer(resumed, first.state_dict())
    train(resumed, stopped, some[5:])
    assert all(torch.equal(a, b) for a, b in zip(straight, stopped, strict=True))


def test_a_change_of_rank_takes_the_factored_squares_along(recipe):
    """A gradient g of B is g·Mᵀ of the new one; entries as uncorrelated, squares go by the squares of M."""
    params = parameters()
    optimizer = built(params, recipe)
    train(optimizer, params, gradients(3))
    state = dict(optimizer.state[params[0]])
    mix = torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    new = torch.nn.Parameter(params[0].detach() @ mix)
    replaced = Replaced(params[0], new, lambda g: g @ mix, lambda v: v @ mix.square())
    groups = [{"name": "adapter", "params": [new, params[1]], "lr": 1e-3, "weight_decay": 0.0, "base_lr": 1e-3}]
    apply_change(optimizer, Change(replaced=(replaced,)), lambda: groups)
    whole = torch.outer(state[ROW], state[COLUMN]) / state[ROW].mean() @ mix.square()
    taken = optimizer.state[new]
    torch.testing.assert_close(taken[ROW], whole.mean(1))
    torch.testing.assert_close(taken[COLUMN], whole.mean(0))
    assert taken["step"] == 3
    train(optimizer, [new, params[1]], [[torch.ones(6, 2), torch.ones(5)]])
    assert torch.isfinite(new).all()


def test_a_matrix_without_moments_starts_anew(recipe):
    params = parameters()
    optimizer = built(params, recipe)
    train(optimizer, params, gradients(3))
    apply_change(optimizer, Change(forget=(params[0],)), list)
    train(optimizer, params, gradients(1))
    assert optimizer.state[params[0]]["step"] == 1 and optimizer.state[params[1]]["step"] == 4
