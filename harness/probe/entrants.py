"""Who takes part in a probe: methods of this project, the frozen floor, and LoRA and DoRA of the peft library.

No link of a chain ends within the steps; what an end costs is measured apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.seeds import Seeds
from harness.probe.backbone import Backbone, blocks_of
from harness.probe.request import FLOOR, PEFT_DORA
from harness.training.optimizer import apply_change
from methods.build import build
from methods.method import Method, Progress
from methods.schedule.link_ends import link_length
from methods.spec import Chain, Constant, MethodSpec, Peft
from methods.training import Training

LR = 1e-5  # any rate costs the same; a small one keeps weights finite that entrants share
_TOTAL, _EPOCH = 10**9, 10**3
_INSIDE = Progress(step=1, total=_TOTAL, steps_per_epoch=_EPOCH)  # of a training so long that no link ends within it


@dataclass(frozen=True)
class Entrant:
    """Something whose training step is measured."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], Tensor]
    after_step: Callable[[], object]
    end_link: Callable[[], object] | None = None  # of a chain: merge, and begin the next link

    def forward_backward(self) -> Tensor:
        loss = self.loss()
        loss.backward()
        return loss

    def step(self) -> None:
        """One optimizer step: forward, backward, update, and what the method does after it."""
        self.forward_backward()
        self.optimizer.step()
        self.after_step()
        self.optimizer.zero_grad(set_to_none=True)

    def trainable(self) -> int:
        return sum(p.numel() for group in self.optimizer.param_groups for p in group["params"])


def method_entrant(spec: MethodSpec, backbone: Backbone, autocast: Callable[[], Any], seed: int) -> Entrant:
    """A method of this project, attached to a model of its own. Raises MethodError when it cannot be."""
    model, method, seeds = backbone.twin(), build(spec, backbone.layout), Seeds(seed)
    method.attach(model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    method.begin(Training(_TOTAL, _EPOCH, LR))
    plain = _entrant(spec.name, model, _groups(method), backbone, autocast, lambda: method.after_step(_INSIDE))
    entrant = replace(plain, loss=lambda: _penalised(plain.loss(), method.penalty()))
    if (end := _end_of_link(spec)) is None:
        return entrant

    def end_link() -> None:
        apply_change(entrant.optimizer, method.after_step(end), lambda: _groups(method))

    return replace(entrant, end_link=end_link)


def _groups(method: Method) -> list[dict[str, Any]]:
    return [group for group in method.groups(LR, LR, 0.0) if group["params"]]


def _penalised(loss: Tensor, penalty: Tensor | None) -> Tensor:
    return loss if penalty is None else loss + penalty


def _end_of_link(spec: MethodSpec) -> Progress | None:
    """The step after which the first link of a chain ends."""
    if not isinstance(spec.schedule, Chain):
        return None
    step = round(link_length(spec.schedule, _TOTAL, _EPOCH))
    return Progress(step, _TOTAL, _EPOCH) if step < _TOTAL else None


def floor_entrant(backbone: Backbone, autocast: Callable[[], Any]) -> Entrant:
    """The frozen backbone: forward, and the gradient through every block down to its input. The head is trained."""
    model = backbone.twin()
    head = _only_head(model, backbone)
    blocks_of(model)[0].register_forward_pre_hook(_input_needs_gradient, with_kwargs=True)
    return _entrant(FLOOR, model, [{"name": "head", "params": head}], backbone, autocast, lambda: None)


def peft_spec(name: str, like: MethodSpec) -> MethodSpec:
    """The peft library's LoRA or DoRA with rank, alpha and targets of `like`, which has a rank."""
    update: Any = like.update
    options = {"r": update.rank, "lora_alpha": update.alpha, "use_dora": name == PEFT_DORA}
    return replace(like, name=name, update=Peft("peft", "LORA", options), schedule=Constant("constant"), about={})


def _entrant(
    name: str,
    model: nn.Module,
    groups: list[dict[str, Any]],
    backbone: Backbone,
    autocast: Callable[[], Any],
    after_step: Callable[[], object],
) -> Entrant:
    fused = all(p.device.type != "meta" for group in groups for p in group["params"])
    optimizer = torch.optim.AdamW(groups, lr=LR, fused=fused)

    def loss() -> Tensor:
        with autocast():
            return backbone.loss(model)

    return Entrant(name, model.train(), optimizer, loss, after_step)


def _only_head(model: nn.Module, backbone: Backbone) -> list[nn.Parameter]:
    model.requires_grad_(False)
    head = [p for path in backbone.layout.head for p in model.get_submodule(path).parameters()]
    for parameter in head:
        parameter.requires_grad_(True)
    return head


def _input_needs_gradient(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    if args:
        return (args[0].detach().requires_grad_(), *args[1:]), kwargs
    return args, kwargs | {"hidden_states": kwargs["hidden_states"].detach().requires_grad_()}
