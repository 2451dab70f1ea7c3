"""What `advise` can say of a model and a dataset that no record is of: never a measurement, and called what it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.advise import advise, everything, sentences
from analysis.published import key, published
from harness.ledger.store import Store

MOST_NEAR = 3  # blocks of other models or datasets that are named
BASELINES = "full,head,lora,cla"


def unrecorded(runs: Path, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences; empty where a record is of that model and dataset, or where not both are asked for."""
    if not {"model", "dataset"} <= wanted.keys():
        return ()
    specs = [record.spec for record in Store(runs).records()]
    if any(_is_of(spec, wanted) for spec in specs):
        return ()
    model, dataset = wanted["model"], wanted["dataset"]
    return (
        f"No record is of model={model} dataset={dataset}: nothing was measured here.",
        *_nearest(runs, specs, wanted),
        _published(model, dataset),
        f"To decide: peftlab sweep method={wanted.get('method', BASELINES)} model={model} dataset={dataset} "
        "'seed=range(3)' (`peftlab plan` with the same words estimates its memory and time)",
    )


def _is_of(spec: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(spec[axis]["name"] == wanted[axis] for axis in ("model", "dataset"))


def _nearest(runs: Path, specs: list[Mapping[str, Any]], wanted: Mapping[str, str]) -> list[str]:
    """The advice for the same dataset with other models; where there is none, for the same model with other data."""
    for axis, other in (("dataset", "model"), ("model", "dataset")):
        if any(spec[axis]["name"] == wanted[axis] for spec in specs):
            frame = everything(runs)
            near = sentences(frame, advise(frame, {axis: wanted[axis]}, None, None))[:MOST_NEAR]
            return [f"Nearest records, the same {axis} with another {other}: {sentence}" for sentence in near]
    return ["No record has that model or that dataset either."]


def _published(model: str, dataset: str) -> str:
    """The values printed for that model and dataset, as printed, in the table's order."""
    table = published("table2")
    rows = table[(table["model"].map(key) == key(model)) & (table["dataset"].map(key) == key(dataset))]
    if rows.empty:
        return "The published Table 2 of Beyond LoRA (arXiv:2606.13767) has no such cell."
    metric, first = rows.iloc[0]["metric"], rows[rows["metric"] == rows.iloc[0]["metric"]]
    values = ", ".join(f"{r.method} {r.value}" for r in first.itertuples())
    return (
        f"Published (Beyond LoRA, arXiv:2606.13767, Table 2, {metric}; single values without spread, so that no test "
        f"tells them apart): {values}."
    )
