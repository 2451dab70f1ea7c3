"""What rank each weight is recommended, by four sources: its own spectrum, the first gradient's, a trained wide
adapter's, and the information bottleneck. Reads the training split only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.data.load import Encoder, load_data
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.models.load import LoadedModel, load_model
from harness.probe.bottleneck_pass import informations
from harness.tasks.build import build
from harness.tasks.task import Batch, Task
from harness.training.loader import DataLoader, in_order
from methods.compress import compress
from methods.energy import energy_rank
from methods.sites import AdapterSite, find_sites, stored_weight
from methods.update.base import SiteUpdate

MOST = 64  # directions that the bottleneck looks at


@dataclass(frozen=True)
class Question:
    """All that may change the answer, beside model, dataset, recipe and seed."""

    energy: float = 0.9
    beta: float = 0.02  # nats about y that a nat about x must bring; ours
    noise: float = 0.01  # of the mean variance of a weight's directions; ours
    steps: int = 8  # optimizer steps whose gradient is the first one


@dataclass(frozen=True)
class SiteAdvice:
    """One weight: ranks by source, spectra by matrix (descending), and the bottleneck's curves by name."""

    path: str
    layer: int
    target: str
    out_features: int
    in_features: int
    ranks: dict[str, int] = field(default_factory=dict)
    spectra: dict[str, list[float]] = field(default_factory=dict)
    information: dict[str, list[float]] = field(default_factory=dict)


def advise(
    spec: RunSpec,
    question: Question,
    cache: Path,
    device: torch.device,
    *,
    data: bool,
    updates: Mapping[str, SiteUpdate] | None = None,
) -> list[SiteAdvice]:
    """Every weight that the model's card names, in the model's order. data: whether the training split is read.

    updates: those of a trained wide adapter, by path. Raises DataError when the data is nowhere.
    """
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, cache)
    loaded.model.to(device).eval()
    sites = find_sites(loaded.model, loaded.layout, loaded.layout.targets)
    advice = {s.path: SiteAdvice(s.path, s.layer, s.target, s.out_features, s.in_features) for s in sites}
    for site in sites:
        _of_spectrum(advice[site.path], "pretrained", torch.linalg.svdvals(site.weight.double()), question)
    for path, update in (updates or {}).items():
        b, a = (factor.double() for factor in update.factors())
        _of_spectrum(advice[path], "adapter", compress(b, a, a.shape[0]).spectrum, question)
    if data:
        _of_data(spec, question, cache, loaded, sites, advice)
    return list(advice.values())


def _of_spectrum(advice: SiteAdvice, name: str, spectrum: Tensor, question: Question) -> None:
    advice.spectra[name] = spectrum.tolist()
    for power, word in ((1, "s"), (2, "s2")):
        advice.ranks[f"{name}_{word}"] = energy_rank(spectrum, question.energy, power)


def _of_data(
    spec: RunSpec,
    question: Question,
    cache: Path,
    loaded: LoadedModel,
    sites: Sequence[AdapterSite],
    advice: Mapping[str, SiteAdvice],
) -> None:
    task = build(spec.dataset, loaded)
    train = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), cache).train
    recipe = spec.recipe
    loader = DataLoader(train, train.lengths, task, recipe.batch_size, recipe.accumulate, Seeds(spec.seed))
    directions = {}
    for path, gradient in first_gradients(loaded.model, task, sites, islice(loader.steps(0), question.steps)).items():
        _, spectrum, vt = torch.linalg.svd(gradient.double(), full_matrices=False)
        _of_spectrum(advice[path], "gradient", spectrum, question)
        directions[path] = vt[:MOST]
    device = next(loaded.model.parameters()).device
    batches = (batch.to(device) for _, batch in in_order(train, train.lengths, task, recipe.eval_batch_size))
    for path, known in informations(loaded.model, spec.dataset.task, sites, directions, batches, question).items():
        advice[path].ranks["bottleneck"] = known.rank
        advice[path].information.update({name: value.tolist() for name, value in vars(known).items()})


def first_gradients(
    model: Any, task: Task, sites: Sequence[AdapterSite], steps: Iterator[list[Batch]]
) -> dict[str, Tensor]:
    """Path -> ∂loss/∂W (out, in) of the mean loss over all batches, at the pretrained weights and in eval mode."""
    weights = {id(parameter): parameter for parameter in (stored_weight(site.module) for site in sites)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in weights)
    device = next(model.parameters()).device
    batches = [batch.to(device) for step in steps for batch in step]
    total = sum(batch.weight for batch in batches)
    for batch in batches:
        (task.losses(model, batch).sum() / total).backward()
    gradients = {site.path: _rows(site) for site in sites}
    for parameter in weights.values():
        parameter.grad = None
    return gradients


def _rows(site: AdapterSite) -> Tensor:
    gradient = stored_weight(site.module).grad
    assert gradient is not None, f"{site.path} is in no forward pass"
    return (gradient.t() if site.transposed else gradient)[site.low : site.high].clone()
