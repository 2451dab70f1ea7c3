"""`peftlab export` and `peftlab merge`: a finished run as a standard PEFT adapter, or as a plain model folder."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.ledger.errors import RecordError, SpecError
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.models.loaded import LoadedModel
from harness.plan import read_request
from harness.settings import Settings, settings_from
from harness.verbs import flags_of
from methods.build import build as build_method
from methods.errors import MethodError
from methods.export import peft_adapter
from methods.method import Method


def export(argv: list[str]) -> int:
    """`peftlab export RUN_ID DIR`: adapter_config.json and adapter_model.safetensors that peft loads."""
    run_id, folder, settings = _request(argv, "export")
    _, method = restored(run_id, settings)
    try:
        config, tensors = peft_adapter(method)
    except MethodError as error:
        raise RecordError(f"run {run_id}: {error} (peftlab merge {run_id} DIR)") from error
    _save(tensors, folder / "adapter_model.safetensors")
    write_whole(folder / "adapter_config.json", to_json(config))
    print(
        f"{folder}: a PEFT adapter of rank {config.get('r')}; load it with peft.PeftModel.from_pretrained(model, DIR)."
    )
    return 0


def merge(argv: list[str]) -> int:
    """`peftlab merge RUN_ID DIR`: the model with the update in its weights, loadable by transformers alone."""
    run_id, folder, settings = _request(argv, "merge")
    loaded, method = restored(run_id, settings)
    method.merge()
    model: Any = loaded.model
    model.save_pretrained(folder)
    if hasattr(loaded.processor, "save_pretrained"):
        loaded.processor.save_pretrained(folder)
    print(f"{folder}: a plain {type(loaded.model).__name__}; load it with from_pretrained(DIR).")
    return 0


def restored(run_id: str, settings: Settings) -> tuple[LoadedModel, Method]:
    """The model of a finished run with its method attached, at the checkpoint that was tested.

    Raises RecordError when the run has no record, or kept no weights.
    """
    store = Store(settings.runs)
    record, adapter = store.read(run_id), store.paths(run_id).adapter
    state = adapter / "state.safetensors"
    if not state.is_file():
        raise RecordError(f"run {run_id} kept no weights; keep=all keeps those of full fine-tuning.")
    spec = parse(RunSpec, record.spec, "run")
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    method = build_method(spec.method, loaded.layout)
    method.attach(loaded.model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    method.restore(load_file(state), json.loads((adapter / "facts.json").read_bytes()))
    loaded.model.eval()
    return loaded, method


def _request(argv: list[str], verb: str) -> tuple[str, Path, Settings]:
    _, words = flags_of(argv, ())
    plain = [word for word in words if "=" not in word]
    if len(plain) != 2:
        raise SpecError(f"{verb} takes a run id and a folder: peftlab {verb} RUN_ID DIR [runs=DIR].")
    settings = settings_from(read_request([word for word in words if "=" in word]).config)
    folder = Path(plain[1])
    folder.mkdir(parents=True, exist_ok=True)
    return plain[0], folder, settings


def _save(tensors: dict[str, Any], path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.replace(path)
