"""AdamW over the groups that a method names, and the two things the loop does to it."""

from typing import Any

import torch

from harness.ledger.spec import RecipeSpec
from methods.method import Method


def build_optimizer(method: Method, recipe: RecipeSpec) -> torch.optim.AdamW:
    """One parameter group per group of the method, each with its own base rate (kept as "base_lr")."""
    groups = method.groups(recipe.lr, recipe.head_lr, recipe.weight_decay)
    groups = [group | {"base_lr": group["lr"]} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=(recipe.betas[0], recipe.betas[1]), eps=recipe.eps, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group's learning rate: its base times `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * rate


def forget_adapter(optimizer: torch.optim.Optimizer) -> None:
    """Drop the moments and step counts of the adapter's tensors; the head's stay (a chain link has ended)."""
    for group in optimizer.param_groups:
        if group["name"].startswith("adapter"):
            for parameter in group["params"]:
                optimizer.state.pop(parameter, None)


def trained(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """Every parameter that the optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Moments and step counts only: rates are functions of the step."""
    own = optimizer.state_dict()
    optimizer.load_state_dict({"state": state["state"], "param_groups": own["param_groups"]})
