"""`peftlab budget`: a parameter budget over the weights of trained adapters, and over tasks; merged, and evaluated."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from harness.cli.adapter_folder import save_updates
from harness.cli.export import restored
from harness.cli.new_folder import refuse_existing
from harness.config.overrides import assign
from harness.config.settings import Settings, settings_from
from harness.ledger.errors import SpecError
from harness.ledger.identity import canonical
from harness.ledger.life import Say, shown
from harness.ledger.lookup import find_run
from harness.ledger.parse import parse
from harness.ledger.side_record import SideRecord, write
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning import budget
from harness.planning.plan import request_of

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.training.adapters import Factors

KIND, VERSION = "budget", 1  # of the side record
MEASURED = "validation"  # in the place of weights: what each adapter adds there
Ranks = Mapping[tuple[str, str], int]  # (run, site path)


@dataclass(frozen=True)
class TaskAdapter:
    """A run's trained adapter. sites: path -> (key of `method.ranks`, in + out)."""

    run: str
    spec: RunSpec
    weight: float
    factors: "Factors"
    spectra: Mapping[str, Sequence[float]]
    sites: Mapping[str, tuple[str, int]]

    @property
    def gains(self) -> dict[tuple[str, str], list[float]]:
        """Of each component: the task's weight times its part of Σ σ² over all weights of the task."""
        return {(self.run, path): [self.weight * v for v in vs] for path, vs in shares(self.spectra).items()}

    @property
    def costs(self) -> dict[tuple[str, str], int]:
        return {(self.run, path): cost for path, (_, cost) in self.sites.items()}


def main(given: Namespace) -> int:
    """Share out; with --merge also one adapter for all tasks, within the same budget, and its scores on each."""
    own = {each.key_or_group: each.input_line.partition("=")[2] for each in given.overrides if _is_own(each)}
    settings = settings_from(request_of([each for each in given.overrides if not _is_own(each)]).config)
    if "tasks" not in own or given.parameters is None:
        raise SpecError("budget takes runs and a number: peftlab budget tasks=RUN,RUN --parameters N.")
    if given.to is not None:
        refuse_existing(given.to)
        if not given.merge:
            raise SpecError("budget --to DIR saves the merged adapter; it needs --merge.")
    store = Store(settings.runs)
    runs = [find_run(store, prefix) for prefix in own["tasks"].split(",") if prefix]
    weights = _weights(own.get("weights"), runs)
    _check(runs, store, measured=None in weights)
    with shown("loading the adapters") as say:
        answer = _answer(given, runs, weights, settings, say)
    _write(answer, runs, store)
    print(json.dumps(answer, indent=2) if given.json else _text(answer))
    return 0


def _answer(
    given: Namespace, runs: Sequence[str], weights: Sequence[float | None], settings: Settings, say: Say
) -> dict[str, Any]:
    tasks = []
    for run, weight in zip(runs, weights, strict=True):
        say(f"run {run}: its adapter" + ("" if weight else ", and what it adds on validation"))
        tasks.append(_adapter(run, weight, settings))
    gains = {key: values for task in tasks for key, values in task.gains.items()}
    costs = {key: cost for task in tasks for key, cost in task.costs.items()}
    answer: dict[str, Any] = {"parameters": given.parameters, "tasks": {task.run: task.weight for task in tasks}}
    answer["shared"] = {name: _row(tasks, gains, costs, ranks) for name, ranks in _all(gains, costs, given.parameters)}
    if given.merge:
        say("merging them, and the scores of each task")
        answer["merged"] = _merge(tasks, given.parameters, settings, given.to)
    return answer


def _is_own(override: Override) -> bool:
    """Whether it is the verb's: a run's id is read as it stands, as 12e45678 is no number."""
    return override.key_or_group in ("tasks", "weights")


def _weights(text: str | None, runs: Sequence[str]) -> Sequence[float | None]:
    """One of each run; None where it is measured on validation."""
    if text == MEASURED and runs:
        return [None] * len(runs)
    try:
        weights = [1.0] * len(runs) if text is None else [float(each) for each in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != len(runs) or not runs or not all(0 < weight < float("inf") for weight in weights):
        raise SpecError(
            f"weights={text}: give one number above 0 for each of {len(runs)} tasks, as in weights=2,1, or "
            f"weights={MEASURED}."
        )
    return weights


def _check(runs: Sequence[str], store: Store, *, measured: bool) -> None:
    """Raises SpecError unless the runs are of plain low-rank methods on the same weights of the same model.

    measured: what their adapters add is compared, so that it must be of one metric.
    """
    if len(set(runs)) < len(runs):
        raise SpecError(f"tasks={','.join(runs)}: a run is there twice.")
    specs = [parse(RunSpec, store.read(run).spec, "run") for run in runs]
    for run, spec in zip(runs, specs, strict=True):
        method, first = spec.method, specs[0]
        if method.update.kind not in ("low_rank", "orthogonal") or method.schedule.kind != "constant":
            raise SpecError(
                f"run {run}: {method.name} is no plain low_rank update; method=lora and lora_orthogonal are."
            )
        if _base(spec) != _base(first) or set(method.targets) != set(first.method.targets):
            raise SpecError(f"run {run}: it is not of the same weights of the same base model as run {runs[0]}.")
    if measured and len(metrics := sorted({spec.dataset.metric for spec in specs})) > 1:
        raise SpecError(
            f"weights={MEASURED}: {' and '.join(metrics)} are not on one scale; give a number for each task."
        )


def shares(spectra: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """σ² of each component over Σ σ² of all weights: squares, as the error of leaving a component out is σ²."""
    total = sum(value**2 for values in spectra.values() for value in values) or 1.0
    return {path: [value**2 / total for value in values] for path, values in spectra.items()}


def _base(spec: RunSpec) -> tuple[str, int]:
    """What tells one pretrained model from another: random weights (size=tiny) are those of a seed."""
    return canonical(spec.model), spec.seed if spec.model.size == "tiny" else 0


def _adapter(run: str, weight: float | None, settings: Settings) -> TaskAdapter:
    from harness.models.loaded import check_base
    from harness.training.adapters import factors_of, gain_on_validation, spectra_of

    loaded, method = restored(run, settings)
    factors = factors_of(method)  # type: ignore[arg-type]
    sites = {site.path: (f"layers.{site.layer}.{site.target}", site.in_features + site.out_features)
             for site in method.sites}  # type: ignore[attr-defined]  # fmt: skip
    record = Store(settings.runs).read(run)
    spec = parse(RunSpec, record.spec, "run")
    if weight is None:
        check_base(loaded, record.data.get("model_revision"), run)
        weight = gain_on_validation(loaded, method, spec, settings.cache)  # type: ignore[arg-type]
    if weight <= 0:
        raise SpecError(
            f"run {run}: its adapter adds nothing on validation ({weight:+.4f}); leave it out, or give weights=N,N."
        )
    return TaskAdapter(run, spec, weight, factors, spectra_of(factors), sites)


def _all(gains: Any, costs: Any, parameters: int) -> list[tuple[str, Any]]:
    """(name, ranks) by each way that there is; `exact` is absent where its table would be too large."""
    ways = [("uniform", budget.uniform), ("greedy", budget.greedy), ("exact", budget.exact)]
    ranks = [(name, way(gains, costs, parameters)) for name, way in ways]
    return [(name, each) for name, each in ranks if each is not None]


def _row(tasks: Sequence[TaskAdapter], gains: Any, costs: Any, ranks: Ranks) -> dict[str, Any]:
    """captured: Σ of the gains over that of all components; ranks: of each run, by keys of `method.ranks`."""
    whole = budget.captured(gains, {key: len(values) for key, values in gains.items()})
    by_run = {task.run: {key: ranks[task.run, path] for path, (key, _) in task.sites.items()} for task in tasks}
    share = budget.captured(gains, ranks) / whole if whole else 1.0
    return {"parameters": budget.parameters(ranks, costs), "captured": share, "ranks": by_run}


def _merge(tasks: Sequence[TaskAdapter], parameters: int, settings: Settings, to: Path | None) -> dict[str, Any]:
    """One adapter for all: the weighted mean of the updates, squeezed to the budget by its own spectrum; saved in `to`.

    scores: of each run with its own adapter, the whole merged one and the squeezed one; each with its own head.
    """
    from harness.models.loaded import check_base
    from harness.training.adapters import merged, put, scores_of, spectra_of, squeezed

    whole = merged([task.factors for task in tasks], [task.weight for task in tasks])
    gains = shares(spectra_of(whole))
    costs = {path: cost for path, (_, cost) in tasks[0].sites.items()}
    ranks = budget.exact(gains, costs, parameters) or budget.greedy(gains, costs, parameters)
    small, scores = squeezed(whole, ranks), {}
    for task in tasks:
        loaded, method = restored(task.run, settings)
        trained_on = Store(settings.runs).read(task.run).data.get("model_revision")
        check_base(loaded, trained_on, task.run)
        rows = {"own": scores_of(loaded, task.spec, settings.cache)}
        for name, factors in (("merged", whole), ("squeezed", small)):
            put(method, factors)  # type: ignore[arg-type]
            rows[name] = scores_of(loaded, task.spec, settings.cache)
        scores[task.run] = {
            name: {split: {metric: q.value for metric, q in of.items()} for split, of in row.items()}
            for name, row in rows.items()
        }
        if to is not None and task is tasks[-1]:  # it holds the squeezed factors now
            save_updates(method, loaded, to)
    return {
        "parameters": budget.parameters(ranks, costs),
        "captured": budget.captured(gains, ranks),
        "ranks": {tasks[0].sites[path][0]: rank for path, rank in ranks.items()},
        "scores": scores,
    }


def _write(answer: Mapping[str, Any], runs: Sequence[str], store: Store) -> None:
    """Beside each run, as its side record."""
    question = {"tasks": answer["tasks"], "parameters": answer["parameters"], "merge": "merged" in answer}
    for run in runs:
        write(store.paths(run), SideRecord(KIND, VERSION, run, question, answer, {}))


def _text(answer: Mapping[str, Any]) -> str:
    """Each way, then the ranks of the last, which captures the most; then the merged adapter's scores."""
    lines = [
        f"{name:<8} {row['parameters']:>10,} parameters  {100 * row['captured']:6.2f} % of σ²"
        for name, row in answer["shared"].items()
    ]
    name, row = list(answer["shared"].items())[-1]
    lines += [f"{run} by {name}: {assign('method.ranks', ranks, '+').word}" for run, ranks in row["ranks"].items()]
    for run, rows in answer.get("merged", {}).get("scores", {}).items():
        for kind, splits in rows.items():
            values = "  ".join(f"{split} {m} {v:.4f}" for split, of in splits.items() for m, v in of.items())
            lines.append(f"{run} {kind:<8} {values}")
    return "\n".join(lines)
