"""From override words to a plan: every run of the grid once, and every cell that is left out with its sentence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.compatible import why_not
from harness.compose import compose_plain, expand, parse_overrides
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.identity import id_from_parts
from harness.ledger.plan import Plan, Planned, Skipped
from harness.resolve import PARTS, Resolver, words_of

AXES = (*PARTS, "seed")
Cell = dict[str, Any]  # axis or dotted key -> one value, as it would be typed


@dataclass(frozen=True)
class Request:
    """What was asked for: axes to sweep, and the rest of the config (paths, tracker, the named sweep)."""

    axes: Mapping[str, tuple[str, ...]]  # key -> override words, one per value
    config: Mapping[str, Any]


def read_request(words: Sequence[str]) -> Request:
    """Sort the override words of a command line. Raises SpecError for a word that is not one."""
    axes: dict[str, tuple[str, ...]] = {}
    rest: list[str] = []
    for override in parse_overrides(words):
        if override.key_or_group.split(".")[0] in AXES:
            axes[_bare(override.key_or_group)] = tuple(expand(override))
        elif override.is_sweep_override():
            raise SpecError(f"{override.key_or_group}: only method, model, dataset, recipe and seed can be swept.")
        else:
            rest.append(override.input_line or "")
    return Request(axes, compose_plain(rest))


def plan_one(request: Request, resolver: Resolver) -> Planned:
    """The one run that `peftlab run` means. SpecError: it is a sweep; PlanError: it cannot be."""
    swept = [key for key, words in request.axes.items() if len(words) != 1]
    if swept or request.config["sweep"]["grids"]:
        raise SpecError(f"{', '.join(swept) or 'sweep'}: this asks for several runs; use `peftlab sweep`.")
    runs, skipped = _runs_of([words[0] for words in request.axes.values()], None, resolver)
    if skipped:
        raise PlanError(skipped.why)
    return runs[0]


def plan_sweep(request: Request, resolver: Resolver) -> Plan:
    """Every run of a sweep, in the order of its grids, and the cells left out."""
    sweep = request.config["sweep"]
    runs: dict[str, Planned] = {}
    skipped: list[Skipped] = []
    for cell in _cells(sweep, request.axes):
        if why := _excluded(cell, sweep["exclude"]):
            skipped.append(Skipped(_values(cell), why))
            continue
        words = [*cell.values(), *_settings_for(cell, sweep["set"])]
        found, left_out = _runs_of(words, _seeds(request, sweep), resolver)
        skipped += [left_out] if left_out else []
        runs |= {run.id: run for run in found}
    if not runs and not skipped:
        raise PlanError("the sweep is empty: give it axes, as in method=lora,cla seed=range(3), or sweep=quickstart.")
    about = {key: sweep.get(key) for key in ("title", "control", "margin", "tune")}
    plan = Plan("", tuple(runs.values()), tuple(skipped), about)
    return Plan(sweep["name"] or f"adhoc-{plan.digest[:8]}", plan.runs, plan.skipped, about)


def cell_words(request: Request) -> Iterator[list[str]]:
    """The override words of every cell that is not excluded. Nothing is composed, so a large sweep costs nothing."""
    sweep = request.config["sweep"]
    for cell in _cells(sweep, request.axes):
        if not _excluded(cell, sweep["exclude"]):
            yield [*cell.values(), *_settings_for(cell, sweep["set"])]


def _cells(sweep: Mapping[str, Any], typed: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Every cell (all axes but the seed) as key -> override word; typed axes replace or narrow the grids'."""
    typed = {key: words for key, words in typed.items() if key != "seed"}
    for grid in sweep["grids"] or [{}]:
        axes = {
            key: tuple(f"{key}={_typed(value)}" for value in values) for key, values in grid.items() if key != "zip"
        }
        zipped = [{key: f"{key}={_typed(value)}" for key, value in row.items()} for row in grid.get("zip", [{}])]
        zip_keys = {key for row in zipped for key in row}
        zipped = [row for row in zipped if all(row[key] in typed.get(key, (row[key],)) for key in row)]
        axes |= {key: words for key, words in typed.items() if key not in zip_keys}
        for row in zipped:
            for words in product(*axes.values()):
                yield row | dict(zip(axes, words, strict=True))


def _seeds(request: Request, sweep: Mapping[str, Any]) -> list[int]:
    words = request.axes.get("seed")
    seeds = [word.partition("=")[2] for word in words] if words else sweep["seeds"] or [request.config["seed"]]
    return [_seed(seed) for seed in seeds]


def _seed(raw: Any) -> int:
    if not str(raw).isdigit():
        raise SpecError(f"seed: '{raw}' is not a whole number.")
    return int(raw)


def _runs_of(
    words: Sequence[str], seeds: Sequence[int] | None, resolver: Resolver
) -> tuple[list[Planned], Skipped | None]:
    """The runs of one cell, one per seed; or the sentence that says why it cannot be."""
    given = {_bare(word.partition("=")[0]): word.partition("=")[2] for word in words}
    seeds = seeds if seeds is not None else [_seed(given.get("seed", "0"))]
    method = resolver.part("method", words_of("method", words))
    parts = {"method": method} | {axis: resolver.part(axis, words_of(axis, words)) for axis in ("model", "dataset")}
    parts["recipe"] = resolver.part(
        "recipe", words_of("recipe", words), rates=(method.spec.name, method.spec.rates.group)
    )
    choices = {axis: parts[axis].spec.name for axis in PARTS} | {k: v for k, v in given.items() if k not in AXES}
    if why := why_not(method.spec, parts["model"].spec, parts["dataset"].spec):
        return [], Skipped(choices, why)
    plain = {axis: parts[axis].plain for axis in PARTS}
    texts = {axis: parts[axis].text for axis in PARTS}
    found = [(seed, id_from_parts(**texts, seed=seed)) for seed in seeds]
    return [Planned(run_id, choices | {"seed": seed}, plain | {"seed": seed}) for seed, run_id in found], None


def _values(cell: Mapping[str, str]) -> dict[str, str]:
    return {key: word.partition("=")[2] for key, word in cell.items()}


def _matches(cell: Mapping[str, str], where: Mapping[str, Any]) -> bool:
    values = _values(cell)
    wanted = {key: value if isinstance(value, list) else [value] for key, value in where.items()}
    return all(str(values.get(key)) in map(str, names) for key, names in wanted.items())


def _excluded(cell: Mapping[str, str], rules: Iterable[Mapping[str, Any]]) -> str | None:
    return next((rule["because"] for rule in rules if _matches(cell, rule["where"])), None)


def _settings_for(cell: Mapping[str, str], rules: Iterable[Mapping[str, Any]]) -> list[str]:
    found = {key: value for rule in rules if _matches(cell, rule["where"]) for key, value in rule["set"].items()}
    return [f"{key}={_typed(value)}" for key, value in found.items() if key not in cell]


def _typed(value: Any) -> str:
    """A value of a yaml as it would be typed on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _bare(key: str) -> str:
    return key.lstrip("+~")
