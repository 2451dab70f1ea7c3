"""`peftlab export` and `peftlab merge`: a finished run as a standard PEFT adapter, or as a plain model folder."""

import json
import re
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.settings import Settings, settings_from
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.lookup import find_run
from harness.ledger.model_spec import HubModel
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import request_of
from methods.errors import MethodError

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.models.loaded import LoadedModel
    from methods.method import Method


def export(given: Namespace) -> int:
    """`peftlab export RUN DIR`: adapter_config.json and adapter_model.safetensors that peft loads."""
    asked = _asked(given)
    loaded, method = restored(asked.run_id, asked.settings)
    from methods.export import peft_adapter

    try:
        config, tensors = peft_adapter(method)
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab merge {asked.run_id} DIR)") from error
    config |= _base_model(asked, loaded)
    _make(asked.folder)
    _save(tensors, asked.folder / "adapter_model.safetensors")
    write_whole(asked.folder / "adapter_config.json", to_json(config))
    kind = f"a PEFT {config['peft_type']} adapter" + (f" of rank {config['r']}" if config.get("r") else "")
    base = f" Its base is the model in {loaded.spec.quantization}." if loaded.spec.quantization else ""
    said = f"{kind}; load it with peft.PeftModel.from_pretrained(model, DIR).{base}"
    return _event_log(asked, said, rank=config.get("r"))


def merge(given: Namespace) -> int:
    """`peftlab merge RUN_ID DIR`: the model with the update in its weights, loadable by transformers alone."""
    asked = _asked(given)
    loaded, method = restored(asked.run_id, asked.settings)
    try:
        method.merge()
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab export {asked.run_id} DIR)") from error
    from harness.models.quantise import repacking_error

    _make(asked.folder)
    model: Any = loaded.model
    error = repacking_error(loaded.packed, model)
    model.save_pretrained(asked.folder)
    if hasattr(loaded.processor, "save_pretrained"):
        loaded.processor.save_pretrained(asked.folder)
    kind = type(model).__name__
    said = f"a plain {kind}; load it with {kind}.from_pretrained(DIR)." + _repacked(loaded, error)
    return _event_log(asked, said, model=kind, **({} if error is None else {"repacking_error": error}))


def _repacked(loaded: "LoadedModel", error: float | None) -> str:
    """What is lost when a merged model is quantised again, as its base was."""
    if error is None:
        return ""
    kind = loaded.spec.quantization
    return f" Its weights were read back from {kind}; packed to {kind} again they miss the update by {error:.0%} of it."


def restored(run_id: str, settings: Settings) -> "tuple[LoadedModel, Method]":
    """The model of a finished run with its method attached, at the checkpoint that was tested; read back, if quantised.

    Raises RecordError when the run has no record, failed, or kept no weights.
    """
    store = Store(settings.runs)
    record, adapter = store.read(run_id), store.paths(run_id).adapter
    if record.failure is not None:
        raise RecordError(f"run {run_id} failed ({record.failure.message}); peftlab retry {run_id} does it again.")
    state = adapter / "state.safetensors"
    if not state.is_file():
        raise RecordError(f"run {run_id} kept no weights; keep=all keeps those of full fine-tuning.")
    spec = parse(RunSpec, record.spec, "run")
    import torch
    from safetensors.torch import load_file

    from harness.models.load import load_model
    from harness.models.quantise import dequantise
    from methods.build import build as build_method

    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    loaded = replace(loaded, packed=dequantise(loaded.model))
    method = build_method(spec.method, loaded.layout)
    method.attach(loaded.model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    method.restore(load_file(state), json.loads((adapter / "facts.json").read_bytes()))
    loaded.model.eval()
    return loaded, method


@dataclass(frozen=True)
class _Asked:
    """One command line of `export` or `merge`."""

    run_id: str
    folder: Path
    settings: Settings
    as_json: bool


def _asked(given: Namespace) -> _Asked:
    settings = settings_from(request_of(given.overrides).config)
    folder = given.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(f"{folder} is there already and is no empty folder; name another one.")
    return _Asked(find_run(Store(settings.runs), given.run), folder, settings, given.json)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder} cannot be made: {error.strerror}.") from error


def _base_model(asked: _Asked, loaded: "LoadedModel") -> dict[str, Any]:
    """Where the weights under the adapter are from, as peft's own adapters say it; nothing for a model made here."""
    spec = parse(RunSpec, Store(asked.settings.runs).read(asked.run_id).spec, "run").model
    if spec.size == "tiny" or not isinstance(spec.source, HubModel):
        return {}
    commit = loaded.revision if re.fullmatch("[0-9a-f]{40}", loaded.revision) else None
    return {"base_model_name_or_path": spec.source.id, "revision": commit}


def _event_log(asked: _Asked, what: str, **facts: Any) -> int:
    if asked.as_json:
        print(json.dumps({"run": asked.run_id, "folder": str(asked.folder), **facts}))
    else:
        print(f"{asked.folder}: {what}")
    return 0


def _save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.replace(path)
