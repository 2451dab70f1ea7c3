"""The kind `start`: how sharp the loss is in a method's own parameters before the first step.

Does it predict the best learning rate (https://arxiv.org/abs/2602.04998)? The parameters are the adapter's, in the
run's own draw; the head is as it was drawn, and does not move.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from harness.diagnostics.curvature import Hessian
from harness.diagnostics.of_loss import losses, settled_eigenvalue
from harness.diagnostics.subject import Subject
from harness.ledger.errors import NothingToMeasure
from harness.ledger.identity import canonical
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from methods.adapters import AdapterMethod
from methods.build import build as build_method
from methods.inject import Adapted

_eigenvalues: dict[tuple, dict[str, Any]] = {}  # runs of a grid of learning rates start alike


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The largest eigenvalue of the mean training loss's Hessian, and its size.

    Raises NothingToMeasure for a method that is no update of single weights, DataError where it is not settled.
    """
    spec = subject.spec
    parts = (canonical(part) for part in (spec.method, spec.model, spec.dataset))
    key = (*parts, spec.seed, spec.recipe.eval_batch_size, question["examples"], str(subject.device))
    if key not in _eigenvalues:
        model, parameters = started(subject)
        shares, draw = losses(subject, question["examples"], model), torch.Generator().manual_seed(0)
        value = settled_eigenvalue(Hessian(shares, parameters), draw)
        _eigenvalues[key] = {"start_eigenvalue": value, "parameters": sum(p.numel() for p in parameters)}
    return _eigenvalues[key]


def started(subject: Subject) -> tuple[nn.Module, list[nn.Parameter]]:
    """The model as the run began, and the parameters of its updates.

    Every update runs on its branch, which is what it means: the fast layers have no second derivative.
    """
    method = build_method(subject.spec.method, subject.loaded.layout)
    if not isinstance(method, AdapterMethod):
        raise NothingToMeasure("its method is no update of single weights.")
    seeds = Seeds(subject.spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(subject.spec.model, subject.spec.dataset.task, seeds, subject.settings.cache)
    model: Any = loaded.model.to(subject.device)
    method.attach(model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    for module in model.modules():
        if isinstance(module, Adapted):
            module.use_branches()
    trained = [p for update in method.updates.values() for p in update.parameters() if p.requires_grad]
    return model.eval(), trained
