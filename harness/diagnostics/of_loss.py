"""The kind about the training loss around the weights of a run: its curvature.

With respect to the adapted weights of the merged model, the same for every method; factors are not comparable.
The examples are a few of the training split, alike for every method and seed; dropout is off.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from scipy.sparse.linalg import ArpackNoConvergence
from torch import Tensor

from harness.diagnostics.curvature import Hessian, largest_eigenvalue, trace
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.subject import Subject
from harness.ledger.errors import DataError
from harness.tasks.task import Batch, Task
from methods.sites import stored_weight

PRODUCTS = 300  # of the Hessian with a vector, at most
TOLERANCE = 1e-2  # relative, of the largest eigenvalue


def curvature(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The largest eigenvalue and the trace of the mean loss's Hessian, and the trace's standard error.

    Raises DataError where more than `PRODUCTS` products with vectors do not settle the eigenvalue.
    """
    weights = adapted_weights(subject)
    for weight in weights:
        weight.requires_grad_(True)
    draw, shares = torch.Generator().manual_seed(0), losses(subject, question["examples"])
    hessian = Hessian(shares, weights)
    largest = settled_eigenvalue(hessian, draw)
    estimate = trace(hessian, question["draws"], draw)
    return {
        "largest_eigenvalue": largest,
        "trace": estimate.trace,
        "trace_error": estimate.error,
        "parameters": hessian.size,
    }


def settled_eigenvalue(hessian: Hessian, draw: torch.Generator) -> float:
    """The largest one to the relative `TOLERANCE`; raises DataError after some `PRODUCTS` products."""
    try:
        return largest_eigenvalue(hessian, draw, TOLERANCE, PRODUCTS)
    except ArpackNoConvergence as error:
        said = f"the largest eigenvalue is not settled after {PRODUCTS} products with the Hessian."
        raise DataError(said) from error


def adapted_weights(subject: Subject) -> list[torch.nn.Parameter]:
    """The stored weights that the method adapts, each once: parts of a fused projection bring the whole one."""
    names = {change.path.partition("[")[0] for change in subject.changes}
    modules = [module for name, module in subject.merged.named_modules() if name in names]
    weights = [stored_weight(module) for module in modules]
    return [weight for weight in weights if isinstance(weight, torch.nn.Parameter)]


def losses(subject: Subject, most: int, model: torch.nn.Module | None = None) -> list[Callable[[], Tensor]]:
    """Their sum is the mean loss over so many training examples; each is one batch's share.

    model: another one than the subject's.
    """
    parts = batches(subject, most)
    total = sum(batch.weight for batch in parts)
    return [_share(subject.task, model or subject.model, batch, total) for batch in parts]


def batches(subject: Subject, most: int) -> list[Batch]:
    """The examples, by the hash of their ids, in batches of the run's evaluation."""
    split, size = subject.data.train, subject.spec.recipe.eval_batch_size
    rows = chosen_rows(split.ids, most)
    groups = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [subject.task.collate([split[row] for row in group], None).to(subject.device) for group in groups]


def _share(task: Task, model: torch.nn.Module, batch: Batch, total: int) -> Callable[[], Tensor]:
    return lambda: task.losses(model, batch).sum() / total
