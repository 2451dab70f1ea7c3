"""A plan: the runs a sweep intends, and the cells it leaves out with a reason. Written at launch, read by analysis."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ledger.errors import PlanError
from harness.ledger.identity import run_id
from harness.ledger.names import check_plain
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.spec import RunSpec


@dataclass(frozen=True)
class Planned:
    """One run to be had. `spec` is the resolved RunSpec as plain data; `choices` are the names a person typed."""

    id: str
    choices: Mapping[str, Any]  # method, model, dataset, recipe, seed, and overrides such as method.update.rank
    spec: Mapping[str, Any]
    source: str | None = None  # id of the run that it starts from, which the plan lists before it


@dataclass(frozen=True)
class Skipped:
    """One cell that will not be run, and why."""

    choices: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Plan:
    """A sweep, as a value. `about` holds the sweep's own settings (title, margin, control method)."""

    name: str
    runs: tuple[Planned, ...]
    skipped: tuple[Skipped, ...]
    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """16 hex digits over the ids and the skipped cells, in any order."""
        words = sorted(run.id for run in self.runs) + sorted(f"{dict(s.choices)}{s.why}" for s in self.skipped)
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The name under which exactly this plan is found again, whatever is planned under its sweep's name later."""
        return f"{self.name}/{self.digest}"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(run.id for run in self.runs)


def lineage(planned: Planned) -> tuple[Planned, ...]:
    """A run after the run that it starts from, and that one's own source before it."""
    spec = planned.spec.get("source")
    if spec is None:
        return (planned,)
    choices = {axis: spec[axis]["name"] for axis in ("method", "model", "dataset", "recipe")} | {"seed": spec["seed"]}
    return *lineage(planned_from_spec(choices, spec)), planned


def planned_from_spec(choices: Mapping[str, Any], spec: Mapping[str, Any]) -> Planned:
    """A run by its spec alone. Raises SpecError when it is none."""
    parsed = parse(RunSpec, spec, "run")
    return Planned(run_id(parsed), choices, spec, run_id(parsed.source) if parsed.source else None)


def plan_path(runs: Path, name: str) -> Path:
    """Plans lie beside the run folders: runs/plans/<sweep>.json, the newest plan of that sweep, and every one that was
    ever written as runs/plans/<sweep>/<digest>.json: a queued job keeps to the plan it was submitted with."""
    for part in name.split("/"):
        check_plain(part, f"sweep {name!r}")
    return runs / "plans" / f"{name}.json"


def write_plan(runs: Path, plan: Plan) -> Path:
    """Write the plan whole; specs are stored by part, so that 10,000 runs stay a small file."""
    path, text = plan_path(runs, plan.name), to_json(plan_to_json(plan), indent=None)
    kept = plan_path(runs, plan.address)
    kept.parent.mkdir(parents=True, exist_ok=True)
    for place in (kept, path):
        write_whole(place, text)
    return path


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Plain data; each distinct method, model, dataset and recipe is stored once, a source run as its id."""
    parts: dict[str, dict[str, Any]] = {axis: {} for axis in ("method", "model", "dataset", "recipe")}
    texts: dict[int, str] = {}  # runs of a cell share their parts: each object is serialised once

    def number(axis: str, part: Any) -> int:
        text = texts.setdefault(id(part), "") or json.dumps(part, sort_keys=True)
        texts[id(part)] = text
        parts[axis].setdefault(text, part)
        return positions[axis].setdefault(text, len(positions[axis]))

    positions: dict[str, dict[str, int]] = {axis: {} for axis in parts}
    runs = [
        [run.id, dict(run.choices), [number(axis, run.spec[axis]) for axis in parts], run.spec["seed"]]
        + ([run.source] if run.source else [])
        for run in plan.runs
    ]
    skipped = [[dict(s.choices), s.why] for s in plan.skipped]
    return {
        "name": plan.name,
        "digest": plan.digest,
        "about": dict(plan.about),
        "parts": {axis: list(of_axis.values()) for axis, of_axis in parts.items()},
        "runs": runs,
        "skipped": skipped,
    }


def union(plans: Sequence[Plan]) -> Plan:
    """Several plans as one: each run and each skipped cell once, and the settings that all of them agree on."""
    if len(plans) == 1:
        return plans[0]
    runs = {run.id: run for plan in reversed(plans) for run in reversed(plan.runs)}
    skipped = {json.dumps([dict(s.choices), s.why], sort_keys=True): s for plan in plans for s in plan.skipped}
    first, *others = (plan.about for plan in plans)
    agreed = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    title = " and ".join(dict.fromkeys(str(plan.about.get("title") or plan.name) for plan in plans))
    name = "+".join(plan.name for plan in plans)
    return Plan(name, tuple(reversed(runs.values())), tuple(skipped.values()), {**agreed, "title": title})


def read_plan(runs: Path, name: str) -> Plan:
    """The plan of a sweep; raises PlanError when there is none."""
    path = plan_path(runs, name)
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.json"))
        raise PlanError(
            f"no plan of sweep '{name}' in {path.parent}; planned so far: {', '.join(known) or 'none'}. "
            f"Start one with: peftlab sweep sweep={name}"
        )
    try:
        return plan_from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise PlanError(f"{path}: not a plan ({error!r}); the same sweep command writes it anew.") from error


def plan_from_json(raw: Mapping[str, Any]) -> Plan:
    """The reverse of `plan_to_json`; raises LookupError, TypeError, ValueError or AttributeError for garbage."""
    axes = list(raw["parts"])

    def spec(numbers: list[int], seed: int) -> dict[str, Any]:
        return {axis: raw["parts"][axis][n] for axis, n in zip(axes, numbers, strict=True)} | {"seed": seed}

    runs_: dict[str, Planned] = {}
    for each, choices, numbers, seed, *source in raw["runs"]:
        started_from = {"source": runs_[source[0]].spec} if source else {}
        runs_[each] = Planned(each, choices, spec(numbers, seed) | started_from, source[0] if source else None)
    return Plan(raw["name"], tuple(runs_.values()), tuple(Skipped(c, why) for c, why in raw["skipped"]), raw["about"])
