"""One pass over the training split: the moments of what each weight reads and of the target."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.ledger.dataset_spec import ImageClassification, Regression, TaskSpec, TextClassification
from harness.tasks.task import Batch
from methods.bottleneck import Information, Moments, information
from methods.sites import AdapterSite


class BottleneckQuestion(Protocol):
    """beta: the price of a nat about x; noise: as a share of the mean variance."""

    @property
    def beta(self) -> float: ...
    @property
    def noise(self) -> float: ...


@torch.no_grad()
def informations(
    model: nn.Module,
    task: TaskSpec,
    sites: Sequence[AdapterSite],
    directions: Mapping[str, Tensor],
    batches: Iterator[Batch],
    question: BottleneckQuestion,
) -> dict[str, Information]:
    """Path -> what its first directions (k, in) know of x and y; x is an example's mean over its tokens.

    Empty for a task whose target is neither a class nor a number.
    """
    if not (width := target_width(task)):
        return {}
    moments = {path: Moments(len(rows), width) for path, rows in directions.items()}
    seen = 0
    for batch in batches:
        inputs = _inputs(model, sites, batch)
        target = _target(batch.targets, task)
        for site in sites:
            moments[site.path].add(inputs[site.module_path] @ directions[site.path].t(), target, seen)
        seen += len(batch.ids)
    return {path: information(sums, question.beta, question.noise) for path, sums in moments.items()}


def target_width(task: TaskSpec) -> int:
    """Numbers that say what a target is: classes but one, one for a number, 0 for what is neither."""
    if isinstance(task, ImageClassification | TextClassification):
        return len(task.labels) - 1
    return 1 if isinstance(task, Regression) else 0


def _target(targets: Tensor, task: TaskSpec) -> Tensor:
    """(n, target_width): classes but the last as ones and zeros."""
    if isinstance(task, Regression):
        return targets.double()[:, None]
    return nn.functional.one_hot(targets, target_width(task) + 1)[:, :-1].double()


def _inputs(model: nn.Module, sites: Sequence[AdapterSite], batch: Batch) -> dict[str, Tensor]:
    """Module path -> (n, in) float64: the mean over an example's tokens of what the module reads, padding left out."""
    mask = batch.inputs.get("attention_mask")
    means: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            means[path] = _mean(args[0].double(), mask)

        return hook

    with ExitStack() as hooks:
        for site in {site.module_path: site for site in sites}.values():
            hooks.callback(site.module.register_forward_pre_hook(keep(site.module_path)).remove)
        model(**batch.inputs)
    return means


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None or mask.shape != x.shape[:2]:
        return x.flatten(1, -2).mean(1)
    weight = mask.to(x.dtype)[..., None]
    return (x * weight).sum(1) / weight.sum(1)
