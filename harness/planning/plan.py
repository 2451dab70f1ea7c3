"""From override words to a plan: every run of the grid once, and every cell that is left out with its sentence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override

from harness.config.compose import GROUPS, compose_plain
from harness.config.keys import where_it_belongs
from harness.config.overrides import Assignment, expand, parse_words
from harness.config.resolve import PARTS, Resolver, source_words, words_of
from harness.config.settings import KEYS
from harness.ledger.diagnoses import in_order
from harness.ledger.errors import PlanError, SpecError, nearest
from harness.ledger.identity import id_from_parts
from harness.ledger.plan import Plan, Planned, Skipped
from harness.ledger.sweep_spec import SweepSpec
from harness.planning.compatible import RunParts, why_no_source, why_not, why_not_by
from harness.planning.grid import cells, check_source_key, read_sweep, settings_for, values, why_excluded
from harness.planning.sweep_checks import check_control, check_sweep

AXES = (*PARTS, "seed")
MOST_SEED = 2**63 - 1  # what a JSON reader in C still takes


@dataclass(frozen=True)
class PlanRequest:
    """What was asked for: axes to sweep, the named sweep, and the rest of the config (paths, tracker)."""

    axes: Mapping[str, tuple[Assignment, ...]]  # by key: one assignment per value
    sweep: SweepSpec
    config: Mapping[str, Any]


def read_request(words: Sequence[str]) -> PlanRequest:
    """`request_of` the words of a command line. Raises SpecError for a word that is not one."""
    return request_of(parse_words(words))


def request_of(overrides: Sequence[Override]) -> PlanRequest:
    """Overrides, sorted into the axes of a sweep and the rest of the config. Raises SpecError for an unknown key."""
    axes: dict[str, tuple[Assignment, ...]] = {}
    rest: list[Assignment] = []
    for override in overrides:
        key, assignments = override.key_or_group, expand(override)
        if key.startswith("source."):
            check_source_key(key)
        if assignments[0].axis in (*AXES, "source"):
            axes[key] = tuple(assignments)
        elif override.is_sweep_override():
            raise SpecError(f"{key}: only method, model, dataset, recipe and seed can be swept.")
        else:
            rest += assignments
    config = compose_plain(rest)
    for word in rest:
        if word.axis not in (known := (*GROUPS, *KEYS, "seed")):
            raise SpecError(f"{word.key}: unknown key.{where_it_belongs(word)}{nearest(word.axis, known)}")
    return PlanRequest(axes, read_sweep(config["sweep"]), config)


def plan_one(request: PlanRequest, resolver: Resolver) -> Planned:
    """The one run that `peftlab run` means (its spec holds its source).

    SpecError: it is a sweep; PlanError: it cannot be.
    """
    swept = [key for key, words in request.axes.items() if len(words) != 1]
    if swept or request.sweep.grids:
        raise SpecError(f"{', '.join(swept) or 'sweep'}: this asks for several runs; use `peftlab sweep`.")
    runs, skipped = _runs_of([words[0] for words in request.axes.values()], None, resolver)
    if skipped:
        raise PlanError(skipped.why)
    return runs[-1]


def plan_sweep(request: PlanRequest, resolver: Resolver) -> Plan:
    """Every run of a sweep, in the order of its grids, and the cells left out."""
    sweep = request.sweep
    check_sweep(sweep, request.axes)
    runs: dict[str, Planned] = {}
    skipped: list[Skipped] = []
    for cell in cells(sweep, request.axes):
        if why := why_excluded(cell, sweep):
            skipped.append(Skipped(values(cell), why))
            continue
        words = [*cell.values(), *settings_for(cell, sweep)]
        runs_of_cell, left_out = _runs_of(words, _seeds(request), resolver)
        skipped += [left_out] if left_out else []
        for run in runs_of_cell:
            runs.setdefault(run.id, run)  # a source stays before the first run that starts from it
    if not runs and not skipped:
        typed = " ".join(word.word for words in request.axes.values() for word in words)
        raise PlanError(f"{sweep.name or 'the sweep'} has no cell{f' of {typed}' if typed else ''}; nothing to plan.")
    if not {"method", "method.update.type", "method.name"} & set(request.axes):
        check_control(sweep, (str(each.choices.get("method")) for each in (*runs.values(), *skipped)))
    tune = None if sweep.tune is None else vars(sweep.tune)
    about = {"title": sweep.title, "control": sweep.control, "margin": sweep.margin, "tune": tune}
    if end := sweep.diagnose:
        about["diagnose"] = {"kinds": list(in_order(end.kinds))} | ({"rows": end.rows} if end.rows else {})
    plan = Plan("", tuple(runs.values()), tuple(skipped), about)
    return Plan(sweep.name or f"adhoc-{plan.digest[:8]}", plan.runs, plan.skipped, about)


def cell_words(request: PlanRequest) -> Iterator[list[Assignment]]:
    """The assignments of every cell that is not excluded. Nothing is composed, so a large sweep costs nothing."""
    for cell in cells(request.sweep, request.axes):
        if not why_excluded(cell, request.sweep):
            yield [*cell.values(), *settings_for(cell, request.sweep)]


def _seeds(request: PlanRequest) -> list[int]:
    words = request.axes.get("seed")
    seeds = [word.shown for word in words] if words else request.sweep.seeds or [request.config["seed"]]
    return [_seed(seed) for seed in seeds]


def _seed(raw: Any) -> int:
    if not str(raw).isdecimal() or int(raw) > MOST_SEED:
        raise SpecError(f"seed: '{raw}' is not a whole number from 0 to {MOST_SEED}.")
    return int(raw)


def _runs_of(
    words: Sequence[Assignment], seeds: Sequence[int] | None, resolver: Resolver
) -> tuple[list[Planned], Skipped | None]:
    """The runs of one cell, one per seed, after the runs that they start from; or why it cannot be."""
    given = {word.key: word.shown for word in words}
    method = resolver.part("method", words_of("method", words))
    inner = source_words(words, method.spec.schedule.of_source)
    if inner and "method" not in {word.key for word in inner}:
        raise SpecError("source: which method has trained it? source.method=NAME must be given.")
    seeds = seeds if seeds is not None else [_seed(given.get("seed", "0"))]
    parts = {"method": method} | {axis: resolver.part(axis, words_of(axis, words)) for axis in ("model", "dataset")}
    parts["recipe"] = resolver.part(
        "recipe", words_of("recipe", words), rates=(method.spec.name, method.spec.rates.group)
    )
    choices = {axis: parts[axis].spec.name for axis in PARTS} | {k: v for k, v in given.items() if k not in AXES}
    sources, left_out = _runs_of(inner, seeds, resolver) if inner else ([], None)
    model, dataset, recipe = (parts[axis].spec for axis in ("model", "dataset", "recipe"))
    why = why_not(method.spec, model, dataset) or why_not_by(method.spec, dataset, recipe)
    own = RunParts(method.spec, model, dataset)
    if why := why or why_no_source(own, _run_parts(inner, resolver) if inner else None):
        return [], Skipped(choices, why)
    plain = {axis: parts[axis].plain for axis in PARTS}
    texts = {axis: parts[axis].text for axis in PARTS}
    if left_out:
        return [], Skipped(choices, f"its source run cannot be: {left_out.why}")
    from_runs = sources[-len(seeds) :] if inner else [None] * len(seeds)
    runs = []
    for seed, source in zip(seeds, from_runs, strict=True):
        spec = plain | {"seed": seed} | ({"source": source.spec} if source else {})
        source_id = source.id if source else None
        run_id = id_from_parts(**texts, seed=seed, source=source_id)
        runs.append(Planned(run_id, choices | {"seed": seed}, spec, source_id))
    return [*sources, *runs], None


def _run_parts(words: Sequence[Assignment], resolver: Resolver) -> RunParts:
    return RunParts(*(resolver.part(axis, words_of(axis, words)).spec for axis in ("method", "model", "dataset")))
