"""Chains in a loop that is not ours: which link is trained after each optimizer step (study, §1.2 and §1.3).

A link is a block of the adapter's rank. The adapter holds all links from the start and is a valid one at any step;
nothing is merged. What trains a finished link all the same, weight decay, is refused.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback

from methods.errors import MethodError
from methods.library.layer import LibraryLinear
from methods.schedule.link_ends import count_ends, link_length
from methods.spec import Chain


def chain_step(model: nn.Module, step: int, total: int, optimizer: Optimizer | None = None) -> bool:
    """Call it before training (0, or the steps that a checkpoint has done) and after each optimizer step, with it.

    step: how many of `total` optimizer steps are done. A new link begins with no optimizer state. Whether one does.
    Raises MethodError when a chain is longer than the training, or weight decay would change finished links.
    """
    chained = [(layer, name) for layer in _layers(model) for name in layer.active_adapters if layer.is_chained(name)]
    changed = False
    for layer, name in chained:
        link = link_after(step, total, layer.recipes[name].links)
        changed, layer.link[name] = changed or link != layer.link[name], link
    if optimizer is not None:
        factors = [layer.get_submodule(part)[name].weight for layer, name in chained for part in ("lora_A", "lora_B")]  # type: ignore[index]
        _refuse_decay(optimizer, factors)
        if changed:
            _forget(optimizer, factors)
    return changed


def link_after(step: int, total: int, links: int) -> int:
    """The link in progress after `step` of `total` optimizer steps; a link ends at round(n · total / links)."""
    length: Fraction = link_length(Chain("chain", links, None, None), total, 1)
    return count_ends(length, min(step + 1, total))


def _layers(model: nn.Module) -> list[LibraryLinear]:
    return [module for module in model.modules() if isinstance(module, LibraryLinear)]


def _refuse_decay(optimizer: Any, factors: Iterable[nn.Parameter]) -> None:
    ids = {id(factor) for factor in factors}
    for group in optimizer.param_groups:
        if group.get("weight_decay") and any(id(parameter) in ids for parameter in group["params"]):
            raise MethodError(
                f"weight_decay={group['weight_decay']} would change a chain's finished links; set it to 0."
            )


def _forget(optimizer: Any, factors: Iterable[nn.Parameter]) -> None:
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    for factor in factors:
        inner.state.pop(factor, None)


class ChainCallback(TrainerCallback):
    """`chain_step` for `transformers.Trainer` and what is made of it: Trainer(..., callbacks=[ChainCallback()])."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        chain_step(kwargs["model"], state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        chain_step(kwargs["model"], state.global_step, state.max_steps, kwargs["optimizer"])
