"""What earlier runs and probes say about how long others will take. Records and files alone: no torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ledger.paths import to_json, write_whole
from harness.ledger.quantity import Measured, Quantity
from harness.ledger.record import Record
from harness.ledger.store import Store
from methods.rank_spec import SEARCH_PASSES


@dataclass(frozen=True)
class PastRun:
    """One finished run. method, model, task, dataset: texts, equal where the settings that cost time are."""

    method: str
    model: str
    task: str  # dataset and recipe, rates left out
    dataset: str
    train_seconds: float
    wall_seconds: float  # of the whole run
    passes: float  # of a step (`passes_of`)
    device: str  # its name
    device_type: str  # cpu, cuda
    examples: int | None  # of the training split


@dataclass(frozen=True)
class Rate:
    """FLOP per second that a training step reached, counted over its whole duration."""

    method: str  # names of the cards
    model: str
    size: str  # full or tiny
    flop_per_second: float
    source: str  # "record" or "probe"
    device: str
    device_type: str


def past_runs(store: Store) -> tuple[list[PastRun], list[Rate]]:
    """Every finished run of a store that trained and whose times may be compared with others'.

    A damaged record tells nothing; `peftlab status` names it.
    """
    runs: list[PastRun] = []
    rates: list[Rate] = []
    for record in store.records():
        train = record.seconds.get("train")
        if record.status != "done" or record.why_not_comparable:
            continue
        if isinstance(train, Measured) and train.value > 0:
            runs.append(_run(record, train.value))
            rates += _rate(record, train.value)
    return runs, rates


def past_probes(folder: Path) -> Iterator[Rate]:
    """The timed entrants of every probe that was made on this machine."""
    for path in sorted(folder.glob("*.json")):
        try:
            raw = json.loads(path.read_bytes())
            device, kind = raw["provenance"]["device"]["name"], str(raw["provenance"]["device"].get("type", ""))
            timed = [row for row in raw["rows"] if "step_ms_median" in row.get("speed", {}) and not row.get("noisy")]
            for row in timed:
                rate = row["exact"]["flops_per_step"]["value"] / (1e-3 * row["speed"]["step_ms_median"]["value"])
                yield Rate(row["name"], raw["setting"]["model"], raw["size"], rate, "probe", device, kind)
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):  # not one of ours, or damaged
            continue


def keep_probe(folder: Path, probe: Mapping[str, Any], size: str) -> None:
    """Keep a probe (as JSON) for later plans; one of the same setting on the same device is replaced."""
    same = json.dumps([probe["setting"], size, probe["provenance"]["device"]], sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(same.encode()).hexdigest()[:16]}.json"
    write_whole(path, to_json({**probe, "size": size}))


def device_of(record: Record) -> tuple[str, str]:
    """Type (cpu, cuda) and name of what a run was on; "" where the record does not say."""
    device = record.provenance.get("device")
    return (str(device.get("type", "")), str(device.get("name", ""))) if isinstance(device, Mapping) else ("", "")


def task_of(spec: Mapping[str, Any]) -> str:
    """Dataset and recipe, rates left out: they differ between methods and cost no time."""
    recipe = {key: value for key, value in spec["recipe"].items() if key not in ("about", "lr", "head_lr")}
    return json.dumps([canonical_spec(spec["dataset"]), recipe], sort_keys=True)


def passes_of(method: Mapping[str, Any]) -> float:
    """Forward and backward passes of an optimizer step, in the mean over the training: a search has more."""
    schedule = method.get("schedule") or {}  # records of other runners than the harness's have none
    return 1 + (SEARCH_PASSES - 1) * float(schedule["search"]) if schedule.get("kind") == "select" else 1.0


def canonical_spec(part: Mapping[str, Any]) -> str:
    """A part of a spec as text, without what is for people."""
    return json.dumps({key: value for key, value in part.items() if key != "about"}, sort_keys=True)


def _run(record: Record, seconds: float) -> PastRun:
    spec, (kind, name) = record.spec, device_of(record)
    return PastRun(
        method=canonical_spec(spec["method"]),
        model=canonical_spec(spec["model"]),
        task=task_of(spec),
        dataset=canonical_spec(spec["dataset"]),
        train_seconds=seconds,
        wall_seconds=_value(record.seconds.get("wall")) or seconds,
        passes=passes_of(spec["method"]),
        device=name,
        device_type=kind,
        examples=record.data.get("splits", {}).get("train", {}).get("n"),
    )


def _rate(record: Record, seconds: float) -> list[Rate]:
    flops, steps = (_value(record.work.get(name)) for name in ("flops_per_step", "steps"))
    if not flops or not steps:
        return []
    method, model = record.spec["method"]["name"], record.spec["model"]
    kind, device = device_of(record)
    return [Rate(method, model["name"], model["size"], flops * steps / seconds, "record", device, kind)]


def _value(quantity: Quantity | None) -> float | None:
    return quantity.value if isinstance(quantity, Measured) else None
