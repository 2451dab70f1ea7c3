"""From override words to a plan: every run of the grid once, and every cell that is left out with its sentence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.compose import compose_plain, expand, parse_overrides
from harness.config.resolve import PARTS, Resolver, source_words, words_of
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.identity import id_from_parts
from harness.ledger.plan import Plan, Planned, Skipped
from harness.ledger.sweep_spec import SweepSpec
from harness.planning.compatible import why_no_source, why_not, why_too_short
from harness.planning.grid import bare, cells, check_source_key, read_sweep, settings_for, values, why_excluded

AXES = (*PARTS, "seed")


@dataclass(frozen=True)
class Request:
    """What was asked for: axes to sweep, the named sweep, and the rest of the config (paths, tracker)."""

    axes: Mapping[str, tuple[str, ...]]  # key -> override words, one per value
    sweep: SweepSpec
    config: Mapping[str, Any]


def read_request(words: Sequence[str]) -> Request:
    """Sort the override words of a command line. Raises SpecError for a word that is not one."""
    axes: dict[str, tuple[str, ...]] = {}
    rest: list[str] = []
    for override in parse_overrides(words):
        if override.key_or_group.startswith("source."):
            check_source_key(override.key_or_group)
        if override.key_or_group.split(".")[0] in (*AXES, "source"):
            axes[bare(override.key_or_group)] = tuple(expand(override))
        elif override.is_sweep_override():
            raise SpecError(f"{override.key_or_group}: only method, model, dataset, recipe and seed can be swept.")
        else:
            rest.append(override.input_line or "")
    config = compose_plain(rest)
    return Request(axes, read_sweep(config["sweep"]), config)


def plan_one(request: Request, resolver: Resolver) -> Planned:
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


def plan_sweep(request: Request, resolver: Resolver) -> Plan:
    """Every run of a sweep, in the order of its grids, and the cells left out."""
    sweep = request.sweep
    runs: dict[str, Planned] = {}
    skipped: list[Skipped] = []
    for cell in cells(sweep, request.axes):
        if why := why_excluded(cell, sweep):
            skipped.append(Skipped(values(cell), why))
            continue
        words = [*cell.values(), *settings_for(cell, sweep)]
        found, left_out = _runs_of(words, _seeds(request), resolver)
        skipped += [left_out] if left_out else []
        for run in found:
            runs.setdefault(run.id, run)  # a source stays before the first run that starts from it
    if not runs and not skipped:
        typed = " ".join(word for words in request.axes.values() for word in words)
        raise PlanError(f"{sweep.name or 'the sweep'} has no cell{f' of {typed}' if typed else ''}; nothing to plan.")
    tune = None if sweep.tune is None else vars(sweep.tune)
    about = {"title": sweep.title, "control": sweep.control, "margin": sweep.margin, "tune": tune}
    plan = Plan("", tuple(runs.values()), tuple(skipped), about)
    return Plan(sweep.name or f"adhoc-{plan.digest[:8]}", plan.runs, plan.skipped, about)


def cell_words(request: Request) -> Iterator[list[str]]:
    """The override words of every cell that is not excluded. Nothing is composed, so a large sweep costs nothing."""
    for cell in cells(request.sweep, request.axes):
        if not why_excluded(cell, request.sweep):
            yield [*cell.values(), *settings_for(cell, request.sweep)]


def _seeds(request: Request) -> list[int]:
    words = request.axes.get("seed")
    seeds = [word.partition("=")[2] for word in words] if words else request.sweep.seeds or [request.config["seed"]]
    return [_seed(seed) for seed in seeds]


def _seed(raw: Any) -> int:
    if not str(raw).isdigit():
        raise SpecError(f"seed: '{raw}' is not a whole number.")
    return int(raw)


def _runs_of(
    words: Sequence[str], seeds: Sequence[int] | None, resolver: Resolver
) -> tuple[list[Planned], Skipped | None]:
    """The runs of one cell, one per seed, after the runs that they start from; or why it cannot be."""
    given = {bare(word.partition("=")[0]): word.partition("=")[2] for word in words}
    if (inner := source_words(words)) and "method" not in {word.partition("=")[0] for word in inner}:
        raise SpecError("source: which method has trained it? source.method=NAME must be given.")
    seeds = seeds if seeds is not None else [_seed(given.get("seed", "0"))]
    method = resolver.part("method", words_of("method", words))
    parts = {"method": method} | {axis: resolver.part(axis, words_of(axis, words)) for axis in ("model", "dataset")}
    parts["recipe"] = resolver.part(
        "recipe", words_of("recipe", words), rates=(method.spec.name, method.spec.rates.group)
    )
    choices = {axis: parts[axis].spec.name for axis in PARTS} | {k: v for k, v in given.items() if k not in AXES}
    model, dataset, recipe = (parts[axis].spec for axis in ("model", "dataset", "recipe"))
    why = why_not(method.spec, model, dataset) or why_too_short(method.spec, dataset, recipe)
    if why := why or (why_no_source(method.spec) if inner else None):
        return [], Skipped(choices, why)
    plain = {axis: parts[axis].plain for axis in PARTS}
    texts = {axis: parts[axis].text for axis in PARTS}
    sources, left_out = _runs_of(inner, seeds, resolver) if inner else ([], None)
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
