"""Which models and datasets a sweep needs, and which repositories of the hub they are in. Nothing is downloaded."""

from harness.config.resolve import Resolver, words_of
from harness.data.hub_cache import Artifact, artifact_of
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.model_spec import ModelSpec
from harness.planning.plan import PlanRequest, cell_words


def required_artifacts(request: PlanRequest, resolver: Resolver) -> list[Artifact]:
    """Every distinct repository that the cells of a sweep, or the named models and datasets, are in."""
    artifacts: dict[tuple[object, ...], Artifact] = {}
    for spec in distinct_specs(request, resolver):
        if (artifact := artifact_of(spec)) is not None:
            artifacts.setdefault((artifact.kind, artifact.address, artifact.patterns), artifact)
    return list(artifacts.values())


def distinct_specs(request: PlanRequest, resolver: Resolver) -> list[ModelSpec | DatasetSpec]:
    """Every distinct model, then every distinct dataset, of the cells that a request names."""
    cells = list(cell_words(request))
    chosen = [(axis, words_of(axis, cell)) for axis in ("model", "dataset") for cell in cells]
    return [resolver.part(axis, words).spec for axis, words in dict.fromkeys((a, tuple(w)) for a, w in chosen)]
