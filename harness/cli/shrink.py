"""`peftlab shrink RUN`: a finished run's adapter at every rank below, and with parameters dropped, without training."""

import json
from argparse import Namespace
from typing import Any

from rich.console import Console

from harness.cli.export import restored
from harness.cli.tables import folding_table
from harness.config.settings import Settings, settings_from
from harness.ledger.errors import RecordError
from harness.ledger.life import Say, shown
from harness.ledger.lookup import find_run
from harness.ledger.parse import parse
from harness.ledger.side_record import SideRecord, write
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import request_of


def main(given: Namespace) -> int:
    """Print score and latency by rank, and score by share kept; the answer also lies beside the run (`shrunk`)."""
    settings = settings_from(request_of(given.overrides).config)
    run_id = find_run(Store(settings.runs), given.run)
    with shown(f"run {run_id}: loading model and data") as say:
        answer = _measured(run_id, settings, say)
    if given.json:
        print(json.dumps({"run": run_id, **answer}))
    else:
        _print(answer)
    return 0


def _measured(run_id: str, settings: Settings, say: Say) -> dict[str, Any]:
    loaded, method = restored(run_id, settings)
    from harness.data.load import Encoder, load_data
    from harness.measure.clocks import pick_device
    from harness.measure.environment import provenance
    from harness.models.loaded import check_base
    from harness.probe.shrink import DRAWS, REPEATS, SHARES, Bench, shrink, why_not
    from harness.tasks.build import build
    from methods.adapters import AdapterMethod

    store = Store(settings.runs)
    record = store.read(run_id)
    check_base(loaded, record.data.get("model_revision"), run_id)
    spec = parse(RunSpec, record.spec, "run")
    if why := why_not(method):
        raise RecordError(f"run {run_id}: {spec.method.name}: {why}.")
    assert isinstance(method, AdapterMethod)
    task, device = build(spec.dataset, loaded), pick_device(settings.device)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache)
    recipe, model = spec.recipe, loaded.model.to(device)
    bench = Bench(model, task, data, spec.dataset, recipe.eval_batch_size, recipe.precision, device)
    answer = shrink(method, bench, spec.seed, lambda words: say(f"run {run_id}: {words}"))
    question = {"shares": list(SHARES), "draws": DRAWS, "repeats": REPEATS, "metric": spec.dataset.metric}
    write(store.paths(run_id), SideRecord("shrunk", 1, run_id, question, answer, provenance(device)))
    return answer


def _print(answer: dict[str, Any]) -> None:
    ranks = folding_table("rank", "validation", "test", "forward pass (ms)")
    for entry in answer["served"]:
        latency = f"{entry['latency_ms']:.2f}"
        ranks.add_row(str(entry["rank"]), f"{entry['val']:.4f}", f"{entry['test']:.4f}", latency)
    shares = folding_table("parameters kept (%)", "how", "draw", "validation", "test")
    for entry in answer["dropped"]:
        kept = f"{100 * entry['kept']:g}"
        shares.add_row(kept, entry["how"], str(entry["draw"]), f"{entry['val']:.4f}", f"{entry['test']:.4f}")
    console = Console(highlight=False)
    console.print(ranks)
    console.print(shares)
