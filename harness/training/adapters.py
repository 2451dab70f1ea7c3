"""Trained adapters outside a training: their factors, several of them merged, and a run's scores with other factors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from harness.data.load import Encoder, load_data
from harness.ledger.quantity import Measured
from harness.ledger.spec import RunSpec
from harness.measure.precision import autocast
from harness.models.loaded import LoadedModel
from harness.tasks.build import build as build_task
from harness.training.evaluate import predict, score
from methods.adapters import AdapterMethod
from methods.compress import compress
from methods.update.low_rank import LowRankUpdate

Factors = Mapping[str, tuple[Tensor, Tensor]]  # site path -> (B (out, r), A (r, in)), whose product is ΔW


def factors_of(method: AdapterMethod) -> dict[str, tuple[Tensor, Tensor]]:
    """In host memory, the scale folded into B."""
    pairs = {path: update.factors() for path, update in method.updates.items()}
    return {path: (b.detach().cpu(), a.detach().cpu()) for path, (b, a) in pairs.items()}


def spectra_of(factors: Factors) -> dict[str, list[float]]:
    """Singular values of each ΔW, descending."""
    return {path: compress(b.double(), a.double(), 1).spectrum.tolist() for path, (b, a) in factors.items()}


def merged(adapters: Sequence[Factors], weights: Sequence[float]) -> dict[str, tuple[Tensor, Tensor]]:
    """The weighted mean of the updates, Σ w·ΔW / Σ w, as one product of each site."""
    shares = [weight / sum(weights) for weight in weights]
    product = {}
    for path in adapters[0]:
        pairs = [adapter[path] for adapter in adapters]
        b = torch.cat([share * b for share, (b, _) in zip(shares, pairs, strict=True)], dim=1)
        product[path] = (b, torch.cat([a for _, a in pairs], dim=0))
    return product


def squeezed(factors: Factors, ranks: Mapping[str, int]) -> dict[str, tuple[Tensor, Tensor]]:
    """The closest product of each site's rank."""
    small = {path: compress(b, a, ranks[path]) for path, (b, a) in factors.items()}
    return {path: (each.b, each.a) for path, each in small.items()}


@torch.no_grad()
def put(method: AdapterMethod, factors: Factors) -> None:
    """These updates in the place of the method's own; its head stays."""
    for path, (b, a) in factors.items():
        update = method.updates[path]
        assert isinstance(update, LowRankUpdate), "the verb refuses others"
        update.put("a", a)
        update.put("b", b / update.scale)


def scores_of(
    loaded: LoadedModel, spec: RunSpec, cache: Path, splits: Sequence[str] = ("val", "test")
) -> dict[str, dict[str, Measured]]:
    """Every metric of these splits of the run's dataset, with the model as it is now."""
    task = build_task(spec.dataset, loaded)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), cache)
    device = next(loaded.model.parameters()).device
    scores = {}
    for name in splits:
        split = {"val": data.validation, "test": data.test}[name]
        context = autocast(spec.recipe.precision, device)
        size = spec.recipe.eval_batch_size
        rows = predict(loaded.model, task, split, split.lengths, batch_size=size, device=device, autocast=context)
        scores[name] = score(task, rows, len(split))
    return scores


def gain_on_validation(loaded: LoadedModel, method: AdapterMethod, spec: RunSpec, cache: Path) -> float:
    """What the adapter adds to the dataset's own metric on validation, the head left as trained; above 0 is better.

    Test is not looked at. The method has its updates again afterwards.
    """
    own = factors_of(method)
    values = []
    for factors in ({path: (torch.zeros_like(b), a) for path, (b, a) in own.items()}, own):
        put(method, factors)
        values.append(scores_of(loaded, spec, cache, ("val",))["val"][spec.dataset.metric].value)
    without, trained = values
    return (trained - without) * (1 if spec.dataset.direction == "max" else -1)
