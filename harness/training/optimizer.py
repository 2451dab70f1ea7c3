"""The recipe's optimizer over the groups that a method names, and what the loop does to it."""

from collections.abc import Callable
from typing import Any

import torch

from harness.ledger.spec import RecipeSpec
from harness.training.adafactor import adafactor, turned
from harness.training.sharding import scatter_moments
from methods.method import Change, Method, Replaced

Groups = list[dict[str, Any]]
SELECTION = "selection"  # the group whose gradients are of another loss than the others
_SQUARES = "exp_avg_sq"  # what torch calls moments of squared gradients


def build_optimizer(method: Method, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """One parameter group per group of the method."""
    groups = optimizer_groups(method, recipe)
    if recipe.optimizer == "adafactor":
        return adafactor(groups)
    return torch.optim.AdamW(groups, betas=(recipe.betas[0], recipe.betas[1]), eps=recipe.eps, fused=True)


def optimizer_groups(method: Method, recipe: RecipeSpec) -> Groups:
    """The method's groups with the recipe's rates; the base rate of each is kept as "base_lr"."""
    groups = method.groups(recipe.lr, recipe.head_lr, recipe.weight_decay)
    return [group | {"base_lr": group["lr"]} for group in groups if group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group's learning rate: its base times `rate`, or its base alone where it is constant."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (1.0 if group.get("constant") else rate)


def apply_change(optimizer: torch.optim.Optimizer, change: Change, groups: Callable[[], Groups]) -> None:
    """Follow what a step changed: parameters that are neither forgotten nor replaced keep their moments.

    groups: the method's groups as they are now; asked for only when parameters were replaced.
    """
    if change.anew:
        optimizer.state.clear()
    for parameter in change.forget:
        optimizer.state.pop(parameter, None)
    if not change.replaced:
        return
    for replaced in change.replaced:
        _hand_over(optimizer, replaced)
    optimizer.param_groups.clear()
    for group in groups():
        optimizer.add_param_group(group)


def _hand_over(optimizer: torch.optim.Optimizer, replaced: Replaced) -> None:
    """The state of the old parameter becomes that of the new one, or is dropped; a step count is handed on as it is."""
    state = optimizer.state.pop(replaced.old, None)
    if not state or (moments := replaced.moments) is None:
        return
    squares = replaced.squares or moments
    turn = {_SQUARES: squares}
    optimizer.state[replaced.new] = {
        name: turn.get(name, moments)(value).contiguous() if _like(value, replaced.old) else value
        for name, value in state.items()
    } | turned(state, squares)


def _like(value: Any, parameter: torch.Tensor) -> bool:
    """Whether a slot of the state has a number for each of the parameter."""
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape


def trained(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """Every parameter that the optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def clip(optimizer: torch.optim.Optimizer, limit: float) -> None:
    """Scale the gradients of the training loss so that their norm is at most `limit`."""
    groups = [group for group in optimizer.param_groups if group["name"] != SELECTION]
    torch.nn.utils.clip_grad_norm_([parameter for group in groups for parameter in group["params"]], limit)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Moments and step counts only: rates are functions of the step."""
    own, parameters = optimizer.state_dict(), trained(optimizer)
    shares = scatter_moments(state["state"], parameters)
    optimizer.load_state_dict({"state": shares, "param_groups": own["param_groups"]})
    for number, parameter in enumerate(parameters):
        for name, value in shares.get(number, {}).items():
            if isinstance(value, torch.Tensor) and value.dtype != optimizer.state[parameter][name].dtype:
                optimizer.state[parameter][name] = value  # Adafactor's are float32, also of a bfloat16 parameter
