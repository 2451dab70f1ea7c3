"""`peftlab recommend-rank model=… [dataset=…] [--energy SHARE] [--from RUN]`: what rank each weight is recommended.

With `sweep=rank_recommend`, one recommendation for each of its blocks, beside its widest run of the first seed: what
the evidence is made of.
"""

import json
import statistics
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.cli.export import restored
from harness.cli.grammar import load
from harness.cli.tables import folding_table
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.life import Say, shown
from harness.ledger.lookup import find_run
from harness.ledger.parse import parse
from harness.ledger.plan import read_plan
from harness.ledger.side_record import SideRecord, write
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import PlanRequest, plan_one, request_of

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.probe.rank_advice import Question, SiteAdvice

PICTURE = "analysis.figures.rank_advice:draw_advice"
EVIDENCE = "analysis.rank_evidence:quoted"
STAND_IN = {  # where no data is named, a task that gives the head its size
    "image_encoder": "digits",
    "text_encoder": "stdlib_docs",
    "decoder": "kinship_lm",
    "vision_language": "shapes_vqa",
}
NAMES = {
    "pretrained_s": "weight, Σ s",
    "pretrained_s2": "weight, Σ s²",
    "gradient_s": "gradient, Σ s",
    "gradient_s2": "gradient, Σ s²",
    "adapter_s": "adapter, Σ s",
    "adapter_s2": "adapter, Σ s²",
    "bottleneck": "bottleneck",
}


@dataclass(frozen=True)
class Advised:
    """One recommendation: of which run's model and data, and whose adapter was looked at."""

    spec: RunSpec
    sites: "list[SiteAdvice]"
    run_id: str | None


def main(given: Namespace) -> int:
    """Print a table of ranks by layer and kind, write it and a picture, and quote the evidence of the store."""
    request = request_of(given.overrides)
    settings = settings_from(request.config)
    if not 0 < given.energy <= 1:
        raise SpecError(f"--energy {given.energy}: a share is above 0 and at most 1, as in --energy 0.9.")
    asked = _asked(request, given.source, settings)
    with shown("loading model and data") as say:
        from harness.probe.rank_advice import Question

        question = Question(energy=given.energy)
        answers = [_advised(spec, run_id, data, question, settings, say) for spec, run_id, data in asked]
        say("the picture, and the evidence of the store")
        for answer in answers:
            _keep(answer, question, settings)
        evidence = load(EVIDENCE)(settings.runs)
    if given.json:
        print(json.dumps({"question": asdict(question), "answers": [_plain(a) for a in answers], "evidence": evidence}))
        return 0
    for answer in answers:
        _print(answer, settings)
    for sentence in evidence:  # type: ignore[attr-defined]
        print(sentence)
    return 0


def _asked(request: PlanRequest, source: str | None, settings: Settings) -> list[tuple[RunSpec, str | None, bool]]:
    """(spec, run whose adapter is looked at, whether data is read) of each recommendation."""
    store, axes = Store(settings.runs), {key.split(".")[0] for key in request.axes}
    if request.sweep.name:
        return [(_spec_of(store, run), run, True) for run in _widest(request.sweep.name, store)]
    if source is not None:
        if axes & {"model", "dataset"}:
            raise SpecError(
                "recommend-rank: --from RUN has its own model and dataset; leave model=… and dataset=… out."
            )
        run_id = find_run(store, source)
        return [(_spec_of(store, run_id), run_id, True)]
    if "model" not in axes:
        raise SpecError("recommend-rank: for which model? Give model=NAME [dataset=NAME], or --from RUN.")
    if "dataset" in axes:
        return [(parse(RunSpec, plan_one(request, Resolver()).spec, "run"), None, True)]
    model = Resolver().part("model", request.axes["model"]).spec
    stand_in = replace(request, axes={**request.axes, "dataset": (assign("dataset", STAND_IN[model.kind]),)})
    return [(parse(RunSpec, plan_one(stand_in, Resolver()).spec, "run"), None, False)]


def _spec_of(store: Store, run_id: str) -> RunSpec:
    return parse(RunSpec, store.read(run_id).spec, "run")


def _widest(name: str, store: Store) -> list[str]:
    """Of each model and dataset of a sweep, the finished run of the first seed with the largest rank."""
    widest: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for run in read_plan(store.root, name).runs:
        rank, seed = run.spec["method"]["update"].get("rank"), run.spec["seed"]
        if rank is None or store.status(run.id) != "done":
            continue
        block = (run.choices["model"], run.choices["dataset"])
        widest[block] = max(widest.get(block, (float("-inf"), 0, "")), (-seed, rank, run.id))
    if not widest:
        raise RecordError(f"{name}: no run has finished; peftlab sweep sweep={name} does them.")
    return [run_id for _, _, run_id in widest.values()]


def _advised(
    spec: RunSpec, run_id: str | None, data: bool, question: "Question", settings: Settings, say: Say
) -> Advised:
    from harness.measure.clocks import pick_device
    from harness.probe.rank_advice import advise
    from methods.adapters import AdapterMethod

    updates = None
    if run_id is not None:
        _, method = restored(run_id, settings)
        if not isinstance(method, AdapterMethod):
            raise RecordError(f"run {run_id}: {spec.method.name} has no low-rank update to look at.")
        updates = method.updates
    device = pick_device(settings.device)
    say(f"{spec.model.name}: spectra of its weights" + (f", and gradients on {spec.dataset.name}" if data else ""))
    return Advised(spec, advise(spec, question, settings.cache, device, data=data, updates=updates), run_id)


def _keep(answer: Advised, question: "Question", settings: Settings) -> None:
    """Table and picture in the folder of reports; of a run, also a side record beside it."""
    folder = _folder(answer, settings)
    folder.mkdir(parents=True, exist_ok=True)
    sites = [asdict(site) for site in answer.sites]
    load(PICTURE)(sites, question.energy, folder / "rank-advice.png")  # type: ignore[call-arg]
    if answer.run_id is not None:
        from harness.measure.environment import provenance

        run_id = answer.run_id
        side = SideRecord("rank_advice", 1, run_id, asdict(question), {"sites": sites}, provenance())
        write(Store(settings.runs).paths(run_id), side)


def _folder(answer: Advised, settings: Settings) -> Path:
    read_data = any("gradient_s" in site.ranks for site in answer.sites)
    name = f"{answer.spec.model.name}-{answer.spec.dataset.name}" if read_data else answer.spec.model.name
    return settings.report / "rank-advice" / name


def _plain(answer: Advised) -> Mapping[str, Any]:
    names = {"model": answer.spec.model.name, "dataset": answer.spec.dataset.name, "seed": answer.spec.seed}
    return names | {"run": answer.run_id, "sites": [asdict(site) for site in answer.sites]}


def _print(answer: Advised, settings: Settings) -> None:
    """A row for each layer and kind, and the median of each kind."""
    sources = [name for name in NAMES if any(name in site.ranks for site in answer.sites)]
    table = folding_table("layer", "kind", "out × in", *(NAMES[name] for name in sources))
    for site in answer.sites:
        size = f"{site.out_features} × {site.in_features}"
        table.add_row(str(site.layer), site.target, size, *(str(site.ranks.get(name, "–")) for name in sources))
    table.add_section()
    for kind in dict.fromkeys(site.target for site in answer.sites):
        rows = [site for site in answer.sites if site.target == kind]
        table.add_row("median", kind, "", *(_median(rows, name) for name in sources))
    console = Console(highlight=False)
    wide = console if console.is_terminal else Console(highlight=False, width=160)
    wide.print(table)
    if "gradient_s" in sources and "bottleneck" not in sources:
        console.print("No bottleneck: the target of this task is neither a class nor a number.", markup=False)
    console.print(f"Picture: {_folder(answer, settings) / 'rank-advice.png'}", markup=False, soft_wrap=True)


def _median(rows: "Sequence[SiteAdvice]", source: str) -> str:
    ranks = [row.ranks[source] for row in rows if source in row.ranks]
    return f"{statistics.median(ranks):g}" if ranks else "–"
