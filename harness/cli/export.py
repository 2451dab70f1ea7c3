"""`peftlab export` and `peftlab merge`: a finished run as a standard PEFT adapter, or as a plain model folder."""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.adapter_folder import adapter_of, hub_id, write_adapter
from harness.cli.how_to_load import of_adapter, of_model
from harness.cli.model_card import Told, model_card
from harness.cli.new_folder import new_folder, refuse_existing
from harness.config.settings import Settings, settings_from
from harness.ledger.errors import RecordError
from harness.ledger.life import shown
from harness.ledger.lookup import find_run
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.record import Record
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import request_of
from methods.errors import MethodError
from methods.spec import AdapterLayer

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.models.loaded import LoadedModel
    from methods.method import Method


BASE = "base_model"  # where a base model lies that is at no hub


def export(given: Namespace) -> int:
    """`peftlab export RUN DIR`: adapter_config.json and adapter_model.safetensors that peft loads."""
    return _written(_asked(given), _write_adapter)


def merge(given: Namespace) -> int:
    """`peftlab merge RUN_ID DIR`: the model with the update in its weights, loadable by transformers alone."""
    return _written(_asked(given), _write_merged)


def _write_adapter(asked: "_Asked") -> tuple[str, dict[str, Any]]:
    """What is in the folder, and facts of it for --json."""
    loaded, method = restored(asked.run_id, asked.settings)
    task = asked.spec.dataset.task
    elsewhere = asked.folder.resolve() / BASE if _is_its_base(asked, loaded) else None
    try:
        config, tensors = adapter_of(method, loaded, task, elsewhere)
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error}{_hint(asked, 'merge')}") from error
    what = f"a PEFT {config['peft_type']} adapter" + (f" of rank {config['r']}" if config.get("r") else "")
    with new_folder(asked.folder) as folder:
        write_adapter(config, tensors, folder)
        if is_here := asked.hub_id is None and _is_its_base(asked, loaded):
            _write_base(asked, folder / BASE)
        code = of_adapter(task, asked.spec.model.kind == "decoder", is_here)
        told = Told(f"This is {what}. Its base model is {_where(asked, is_here)}.", "peft", code)
        _write_rest(asked, loaded, folder, told)
    base_is = f" Its base is the model in {loaded.spec.quantization}." if loaded.spec.quantization else ""
    return f"{what}; load it as its README.md says.{base_is}", {"rank": config.get("r")}


def _write_merged(asked: "_Asked") -> tuple[str, dict[str, Any]]:
    """What is in the folder, and facts of it for --json."""
    loaded, method = restored(asked.run_id, asked.settings)
    from harness.models.loaded import check_base

    check_base(loaded, asked.record.data.get("model_revision"), asked.run_id)
    try:
        method.merge()
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error}{_hint(asked, 'export')}") from error
    from harness.models.quantise import repacking_error

    model: Any = loaded.model
    kind = type(model).__name__
    error = repacking_error(loaded.packed, model)
    with new_folder(asked.folder) as folder:
        _write_model(asked, loaded, folder)
        code = of_model(asked.spec.dataset.task, asked.spec.model.kind == "decoder")
        what = f"This is a plain {kind} with the update in its weights." + _repacked(loaded, error)
        _write_rest(asked, loaded, folder, Told(what, "transformers", code))
    said = f"a plain {kind}; load it with {kind}.from_pretrained(DIR)." + _repacked(loaded, error)
    return said, {"model": kind} | ({} if error is None else {"repacking_error": error})


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
    from harness.models.loaded import with_room_for
    from harness.models.quantise import dequantise
    from methods.build import build as build_method
    from methods.library_types import prompt_length

    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    loaded = with_room_for(loaded, prompt_length(spec.method.update))
    loaded = replace(loaded, packed=dequantise(loaded.model))
    method = build_method(spec.method, loaded.layout)
    method.attach(loaded.model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    method.restore(load_file(state), json.loads((adapter / "facts.json").read_bytes()))
    loaded.model.eval()
    return loaded, method


@dataclass(frozen=True)
class _Asked:
    """One command line of `export` or `merge`, and the run that it names."""

    run_id: str
    folder: Path
    settings: Settings
    as_json: bool

    @cached_property
    def record(self) -> Record:
        return Store(self.settings.runs).read(self.run_id)

    @cached_property
    def spec(self) -> RunSpec:
        return parse(RunSpec, self.record.spec, "run")

    @property
    def hub_id(self) -> str | None:
        return hub_id(self.spec.model)


def _asked(given: Namespace) -> _Asked:
    settings = settings_from(request_of(given.overrides).config)
    refuse_existing(given.folder)
    return _Asked(find_run(Store(settings.runs), given.run), given.folder, settings, given.json)


def _hint(asked: _Asked, verb: str) -> str:
    """The other verb, where that one can."""
    return "" if isinstance(asked.spec.method.update, AdapterLayer) else f" (peftlab {verb} {asked.run_id} DIR)"


def _write_base(asked: _Asked, folder: Path) -> None:
    """The model as it was before the method, for one that is nowhere else; read back, if quantised."""
    from harness.models.load import load_model
    from harness.models.quantise import dequantise

    spec = asked.spec
    loaded = load_model(spec.model, spec.dataset.task, Seeds(spec.seed), asked.settings.cache)
    dequantise(loaded.model)
    _write_model(asked, loaded, folder)


def _write_model(asked: _Asked, loaded: "LoadedModel", folder: Path) -> None:
    from harness.models.portable import complete

    model: Any = loaded.model
    complete(loaded, asked.spec.dataset.task)
    model.save_pretrained(folder)


def _write_rest(asked: _Asked, loaded: "LoadedModel", folder: Path, told: Told) -> None:
    """The processor, the task as data, and the model card."""
    from harness.models.portable import TASK, save_processor, task_of

    task = asked.spec.dataset.task
    save_processor(loaded, task, folder)
    write_whole(folder / TASK, to_json(task_of(task)))
    write_whole(folder / "README.md", model_card(asked.record, asked.spec, told, asked.hub_id))


def _is_its_base(asked: _Asked, loaded: "LoadedModel") -> bool:
    return asked.record.data.get("model_revision") in (None, loaded.revision)


def _where(asked: _Asked, is_here: bool) -> str:
    if asked.hub_id is not None:
        kind = asked.spec.model.quantization
        return asked.hub_id + (f" in {kind}" if kind else "")
    if not is_here:
        return f"{asked.spec.model.name} at {asked.record.data['model_revision'][:23]}, which is no longer to be had"
    return f"in its folder `{BASE}`: if you move it, write the new place into adapter_config.json"


def _written(asked: _Asked, write: Callable[[_Asked], tuple[str, dict[str, Any]]]) -> int:
    """Write the folder, and say what is in it."""
    with shown(f"run {asked.run_id}: loading its model"):
        what, facts = write(asked)
    if asked.as_json:
        print(json.dumps({"run": asked.run_id, "folder": str(asked.folder), **facts}))
    else:
        print(f"{asked.folder}: {what}")
    return 0
