"""`peftlab export` and `peftlab merge`: a finished run as a standard PEFT adapter, or as a plain model folder."""

import json
import re
from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.how_to_load import of_adapter, of_model
from harness.cli.model_card import Told, model_card
from harness.cli.new_folder import new_folder, refuse_existing
from harness.config.settings import Settings, settings_from
from harness.ledger.dataset_spec import ImageClassification, Regression, TaskSpec, TextClassification
from harness.ledger.errors import RecordError
from harness.ledger.lookup import find_run
from harness.ledger.model_spec import HubModel
from harness.ledger.parse import parse
from harness.ledger.paths import to_json, write_whole
from harness.ledger.record import Record
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import request_of
from methods.errors import MethodError

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.models.loaded import LoadedModel
    from methods.method import Method


BASE = "base_model"  # where a base model lies that is at no hub
AT_HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}  # the same file, by its SHA-256


def export(given: Namespace) -> int:
    """`peftlab export RUN DIR`: adapter_config.json and adapter_model.safetensors that peft loads."""
    asked = _asked(given)
    loaded, method = restored(asked.run_id, asked.settings)
    from methods.export import peft_adapter

    try:
        config, tensors = peft_adapter(method)
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab merge {asked.run_id} DIR)") from error
    task, base = asked.spec.dataset.task, _base_model(asked, loaded)
    config |= base | _task_type(loaded, task)
    what = f"a PEFT {config['peft_type']} adapter" + (f" of rank {config['r']}" if config.get("r") else "")
    with new_folder(asked.folder) as folder:
        _save(tensors, folder / "adapter_model.safetensors")
        write_whole(folder / "adapter_config.json", to_json(config))
        if is_here := asked.hub_id is None and _is_its_base(asked, loaded):
            _write_base(asked, folder / BASE)
        code = of_adapter(task, asked.spec.model.kind == "decoder", is_here)
        _write_rest(
            asked, loaded, folder, Told(f"This is {what}. Its base model is {_where(asked, is_here)}.", "peft", code)
        )
    return _event_log(asked, f"{what}; load it as its README.md says.", rank=config.get("r"))


def merge(given: Namespace) -> int:
    """`peftlab merge RUN_ID DIR`: the model with the update in its weights, loadable by transformers alone."""
    asked = _asked(given)
    loaded, method = restored(asked.run_id, asked.settings)
    from harness.models.loaded import check_base

    check_base(loaded, asked.record.data.get("model_revision"), asked.run_id)
    try:
        method.merge()
    except MethodError as error:
        raise RecordError(f"run {asked.run_id}: {error} (peftlab export {asked.run_id} DIR)") from error
    model: Any = loaded.model
    kind = type(model).__name__
    with new_folder(asked.folder) as folder:
        _write_model(asked, loaded, folder)
        code = of_model(asked.spec.dataset.task, asked.spec.model.kind == "decoder")
        what = f"This is a plain {kind} with the update in its weights."
        _write_rest(asked, loaded, folder, Told(what, "transformers", code))
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
        """Where anybody finds the base model; None for one that was made here."""
        source = self.spec.model.source
        if self.spec.model.size == "tiny":
            return None
        return source.id if isinstance(source, HubModel) else AT_HUB.get(source.builder)


def _asked(given: Namespace) -> _Asked:
    settings = settings_from(request_of(given.overrides).config)
    refuse_existing(given.folder)
    return _Asked(find_run(Store(settings.runs), given.run), given.folder, settings, given.json)


def _base_model(asked: _Asked, loaded: "LoadedModel") -> dict[str, Any]:
    """Where the weights under the adapter are from, as peft's own adapters say it."""
    commit = loaded.revision if re.fullmatch("[0-9a-f]{40}", loaded.revision) else None
    here = str(asked.folder.resolve() / BASE) if _is_its_base(asked, loaded) else None
    return {"base_model_name_or_path": asked.hub_id or here, "revision": commit}


def _task_type(loaded: "LoadedModel", task: TaskSpec) -> dict[str, Any]:
    """Which of peft's classes loads it; there is none for images, and the model's own class stands for it."""
    if isinstance(task, ImageClassification):
        kind = type(loaded.model)
        return {"auto_mapping": {"base_model_class": kind.__name__, "parent_library": kind.__module__}}
    return {"task_type": "SEQ_CLS" if isinstance(task, TextClassification | Regression) else "CAUSAL_LM"}


def _write_base(asked: _Asked, folder: Path) -> None:
    """The model as it was before the method, for one that is nowhere else."""
    from harness.models.load import load_model

    spec = asked.spec
    _write_model(asked, load_model(spec.model, spec.dataset.task, Seeds(spec.seed), asked.settings.cache), folder)


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
        return asked.hub_id
    if not is_here:
        return f"{asked.spec.model.name} at {asked.record.data['model_revision'][:23]}, which is no longer to be had"
    return f"in its folder `{BASE}`: if you move it, write the new place into adapter_config.json"


def _event_log(asked: _Asked, what: str, **facts: Any) -> int:
    if asked.as_json:
        print(json.dumps({"run": asked.run_id, "folder": str(asked.folder), **facts}))
    else:
        print(f"{asked.folder}: {what}")
    return 0


def _save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata={"format": "pt"})
