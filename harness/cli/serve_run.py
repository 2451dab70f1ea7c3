"""What `serve-probe` needs of a finished run: its update as an adapter, the model under it, and a score of the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from harness.cli.adapter_folder import adapter_of, write_adapter
from harness.cli.export import restored
from harness.config.settings import Settings
from harness.data.load import Encoder, load_data
from harness.ledger.errors import RecordError
from harness.ledger.lookup import find_run
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure.clocks import pick_device
from harness.models.load import load_model
from harness.models.loaded import LoadedModel, check_base, with_room_for
from harness.probe.shrink import Bench
from harness.tasks.build import build
from methods.errors import MethodError
from methods.library_types import prompt_length
from methods.spec import AdapterLayer, Biases


def subject_of(
    source: str, settings: Settings, folder: Path
) -> tuple[str, RunSpec, LoadedModel, nn.Module | None, Callable[[nn.Module, str], float]]:
    """(run id, spec, the model before the method, the one behind it, the score of a model in a precision).

    Writes the adapter to `folder`; the model behind the method is given where there is none, as of BitFit and adapter
    layers. Raises RecordError for a run whose update is neither, as full fine-tuning.
    """
    store = Store(settings.runs)
    run_id = find_run(store, source)
    spec = parse(RunSpec, store.read(run_id).spec, "run")
    tuned, method = restored(run_id, settings)
    check_base(tuned, store.read(run_id).data.get("model_revision"), run_id)
    beside = isinstance(spec.method.update, Biases | AdapterLayer)
    try:
        if not beside:
            folder.mkdir()
            write_adapter(*adapter_of(method, tuned, spec.dataset.task, None), folder)
    except MethodError as error:
        raise RecordError(f"run {run_id}: {error}") from error
    loaded = load_model(spec.model, spec.dataset.task, Seeds(spec.seed), settings.cache)
    loaded = with_room_for(loaded, prompt_length(spec.method.update))
    task = build(spec.dataset, loaded)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache)

    def scored(model: Any, precision: str) -> float:
        device = pick_device(settings.device)
        bench = Bench(model, task, data, spec.dataset, spec.recipe.eval_batch_size, precision, device)
        return bench.scores()["test"]

    return run_id, spec, loaded, tuned.model if beside else None, scored
