"""A run's id: a digest of everything that could change its numbers, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

from harness.ledger.spec import SPEC_VERSION, RunSpec


def to_plain(value: Any, *, science_only: bool = False) -> Any:
    """A spec as JSON-ready data. `science_only` leaves out fields marked as being for people (`about`).

    A field at its neutral value is left out always: a spec from before there was such a field is equal, and its id.
    """
    if is_dataclass(value):
        kept = [f for f in fields(value) if not science_only or f.metadata.get("science", True)]
        kept = [f for f in kept if not _is_neutral(f, getattr(value, f.name))]
        return {f.name: to_plain(getattr(value, f.name), science_only=science_only) for f in kept}
    if isinstance(value, Mapping):
        return {key: to_plain(item, science_only=science_only) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item, science_only=science_only) for item in value]
    return value


def _is_neutral(field: Field[Any], value: Any) -> bool:
    return "neutral" in field.metadata and to_plain(value) == to_plain(field.metadata["neutral"])


def canonical(part: Any) -> str:
    """The one JSON text of a part of a spec that its digest is taken of."""
    return json.dumps(to_plain(part, science_only=True), sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(spec: RunSpec) -> str:
    """16 hex digits of the SHA-256 of the resolved spec; a changed default is a changed id."""
    method, model, dataset, recipe = map(canonical, (spec.method, spec.model, spec.dataset, spec.recipe))
    source = None if spec.source is None else run_id(spec.source)
    return id_from_parts(method, model, dataset, recipe, spec.seed, source)


def id_from_parts(method: str, model: str, dataset: str, recipe: str, seed: int, source: str | None = None) -> str:
    """The id from canonical parts (`source`: an id), so that a plan of 10,000 runs serialises each part once."""
    text = f'{{"dataset":{dataset},"method":{method},"model":{model},"recipe":{recipe}'
    text += f',"schema":{SPEC_VERSION},"seed":{seed}'
    text += "}" if source is None else f',"source":"{source}"}}'
    return hashlib.sha256(text.encode()).hexdigest()[:16]  # 3e-12 chance of a collision among 10,000 runs
