"""Which weights a method adapts in a model, with their true widths: built on shapes, nothing is loaded."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from harness.ledger.spec import RunSpec
from harness.models.config import layout_of
from harness.models.load import build_from_config
from harness.planning.search.search_spec import SearchSpec
from harness.planning.search.space import Space
from methods.sites import find_sites


@dataclass(frozen=True)
class Weight:
    """One weight (out, in) that a method adapts."""

    path: str
    target: str
    layer: int
    out_features: int
    in_features: int

    @property
    def cost(self) -> int:
        """Parameters of one rank."""
        return self.in_features + self.out_features


def weights_of(run: RunSpec) -> list[Weight]:
    """In the order of the model's modules."""
    task = run.dataset.task
    model = build_from_config(run.model, task, device="meta")
    sites = find_sites(model, layout_of(run.model, task), run.method.targets)
    return [Weight(s.path, s.target, s.layer, s.out_features, s.in_features) for s in sites]


def space_of(run: RunSpec, spec: SearchSpec) -> Space:
    """A key of `method.ranks` for each kind, or for each kind in each layer."""
    costs: dict[str, int] = defaultdict(int)
    for key, cost in _keyed(run, spec):
        costs[key] += cost
    return Space(dict(costs), spec.ranks, spec.parameters)


def _keyed(run: RunSpec, spec: SearchSpec) -> Iterator[tuple[str, int]]:
    for weight in weights_of(run):
        yield (weight.target if spec.per == "kind" else f"layers.{weight.layer}.{weight.target}"), weight.cost
