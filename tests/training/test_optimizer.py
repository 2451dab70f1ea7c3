"""The optimizer is AdamW with the recipe's own numbers, over the groups that a method names."""

from types import SimpleNamespace

import pytest
import torch

from harness.training.optimizer import build_optimizer, load_optimizer, set_rate


def _method():
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]

    def groups(lr, head_lr, weight_decay):
        return [
            {"name": "adapter", "params": parameters[:1], "lr": lr, "weight_decay": 0.0},
            {"name": "head", "params": parameters[1:], "lr": head_lr, "weight_decay": weight_decay},
        ]

    return SimpleNamespace(groups=groups)


def test_every_number_of_the_recipe_reaches_its_group(recipe):
    wanted = recipe(lr=1e-2, head_lr=1e-4, weight_decay=0.3, betas=[0.8, 0.95], eps=1e-6)
    optimizer = build_optimizer(_method(), wanted)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(1e-2, 0.0), (1e-4, 0.3)]
    assert all(g["betas"] == (0.8, 0.95) and g["eps"] == 1e-6 for g in optimizer.param_groups)


def test_a_rate_is_of_the_recipes_own_and_not_of_the_step_before(recipe):
    optimizer = build_optimizer(_method(), recipe(lr=1e-2, head_lr=1e-4))
    for rate in (0.5, 0.25):
        set_rate(optimizer, rate)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-2 * rate, 1e-4 * rate])


def test_a_saved_state_brings_its_moments_and_no_rates(recipe):
    saved = build_optimizer(_method(), recipe(lr=1e-2))
    for group in saved.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 3.0)
    saved.step()
    optimizer = build_optimizer(_method(), recipe(lr=5e-2))
    load_optimizer(optimizer, saved.state_dict())
    assert optimizer.param_groups[0]["lr"] == 5e-2
    moments = [state["exp_avg"] for state in optimizer.state.values()]
    assert len(moments) == 2 and all(torch.allclose(moment, torch.full((2,), 0.3)) for moment in moments)
