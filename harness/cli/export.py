"""`peftlab export` and `peftlab merge`: a finished run as a standard PEFT adapter, or as a plain model folder."""

import json
import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.settings import Settings, settings_from
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.lookup import find_run
from harness.ledger.model_spec import HubModel, ModelSpec
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
    spec = parse(RunSpec, Store(asked.settings.runs).read(asked.run_id).spec, "run")
    try:
        config = save_adapter(method, loaded, spec, asked.folder)
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab merge {asked.run_id} DIR)") from error
    kind = f"a PEFT {config['peft_type']} adapter" + (f" of rank {config['r']}" if config.get("r") else "")
    return _event_log(asked, f"{kind}; load it with peft.PeftModel.from_pretrained(model, DIR).", rank=config.get("r"))


def save_adapter(
    method: "Method", loaded: "LoadedModel", spec: RunSpec, folder: Path, *, with_head: bool = True
) -> dict[str, Any]:
    """A new folder with a standard PEFT adapter of a method as it is now; its adapter_config.json.

    with_head: with the task's head, which peft puts in the place of the model's. Raises MethodError where the update is
    not of low rank.
    """
    from methods.export import peft_adapter

    config, tensors = peft_adapter(method)
    config |= _base_model(spec.model, loaded)
    if not with_head:
        config["modules_to_save"] = None
        tensors = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    _make(folder)
    _save(tensors, folder / "adapter_model.safetensors")
    write_whole(folder / "adapter_config.json", to_json(config))
    return config


def merge(given: Namespace) -> int:
    """`peftlab merge RUN_ID DIR`: the model with the update in its weights, loadable by transformers alone."""
    asked = _asked(given)
    loaded, method = restored(asked.run_id, asked.settings)
    try:
        method.merge()
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab export {asked.run_id} DIR)") from error
    _make(asked.folder)
    model: Any = loaded.model
    model.save_pretrained(asked.folder)
    if hasattr(loaded.processor, "save_pretrained"):
        loaded.processor.save_pretrained(asked.folder)
    kind = type(model).__name__
    return _event_log(asked, f"a plain {kind}; load it with {kind}.from_pretrained(DIR).", model=kind)


def restored(run_id: str, settings: Settings) -> "tuple[LoadedModel, Method]":
    """The model of a finished run with its method attached, at the checkpoint that was tested.

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
    from methods.build import build as build_method

    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
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
    check_new(given.folder)
    return _Asked(find_run(Store(settings.runs), given.run), given.folder, settings, given.json)


def check_new(folder: Path) -> None:
    """Raises SpecError unless the folder is empty or not there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(f"{folder} is there already and is no empty folder; name another one.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder} cannot be made: {error.strerror}.") from error


def _base_model(spec: ModelSpec, loaded: "LoadedModel") -> dict[str, Any]:
    """Where the weights under the adapter are from, as peft's own adapters say it; nothing for a model made here."""
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
